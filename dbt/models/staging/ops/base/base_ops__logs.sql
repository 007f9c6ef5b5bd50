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
        source('ops', 'logs'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'text', 'path': ['id']},
            {'name': 'created', 'type': 'timestamp', 'path': ['created']},
            {'name': 'name', 'type': 'text', 'path': ['name']},
            {'name': 'level', 'type': 'integer', 'path': ['level']},
            {'name': 'message', 'type': 'text', 'path': ['message']},
            {'name': 'timestamp', 'type': 'timestamp', 'path': ['timestamp']},
            {'name': 'flow_run_id', 'type': 'text', 'path': ['flow_run_id']},
            {'name': 'task_run_id', 'type': 'text', 'path': ['task_run_id']},
        ],
    )
}}
