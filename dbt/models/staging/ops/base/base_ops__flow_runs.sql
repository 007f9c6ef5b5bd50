{#- Generated from catalog/ops.yml by `python -m groundwork render`: change the catalog, not this. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',
        unique_key=['id'],
        on_schema_change='append_new_columns',
        pre_hook='{{ empty_if_built_by_another_key() }}',
    )
}}

{{
    latest_records(
        source('ops', 'flow_runs'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'text', 'path': ['id']},
            {'name': 'name', 'type': 'text', 'path': ['name']},
            {'name': 'flow_id', 'type': 'text', 'path': ['flow_id']},
            {'name': 'flow_name', 'type': 'text', 'path': ['flow_name']},
            {'name': 'deployment_id', 'type': 'text', 'path': ['deployment_id']},
            {'name': 'deployment_name', 'type': 'text', 'path': ['deployment_name']},
            {'name': 'state_type', 'type': 'text', 'path': ['state_type']},
            {'name': 'state_name', 'type': 'text', 'path': ['state_name']},
            {'name': 'state_message', 'type': 'text', 'path': ['state', 'message']},
            {'name': 'start_time', 'type': 'timestamp', 'path': ['start_time']},
            {'name': 'end_time', 'type': 'timestamp', 'path': ['end_time']},
            {'name': 'total_run_time', 'type': 'float', 'path': ['total_run_time']},
            {'name': 'tags', 'type': 'json', 'path': ['tags']},
            {'name': 'parameters', 'type': 'json', 'path': ['parameters']},
            {'name': 'created', 'type': 'timestamp', 'path': ['created']},
            {'name': 'updated', 'type': 'timestamp', 'path': ['updated']},
        ],
    )
}}
