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
        source('ops', 'task_runs'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'text', 'path': ['id']},
            {'name': 'name', 'type': 'text', 'path': ['name']},
            {'name': 'flow_run_id', 'type': 'text', 'path': ['flow_run_id']},
            {'name': 'state_type', 'type': 'text', 'path': ['state_type']},
            {'name': 'state_name', 'type': 'text', 'path': ['state_name']},
            {'name': 'start_time', 'type': 'timestamp', 'path': ['start_time']},
            {'name': 'end_time', 'type': 'timestamp', 'path': ['end_time']},
            {'name': 'total_run_time', 'type': 'float', 'path': ['total_run_time']},
            {'name': 'created', 'type': 'timestamp', 'path': ['created']},
            {'name': 'updated', 'type': 'timestamp', 'path': ['updated']},
        ],
    )
}}
