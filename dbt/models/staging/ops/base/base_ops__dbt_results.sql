{#- Generated from catalog/ops.yml by `python -m groundwork render`: change the catalog, not this. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',
        unique_key=['invocation_id', 'unique_id'],
        on_schema_change='append_new_columns',
        pre_hook='{{ empty_if_built_by_another_key() }}',
    )
}}

{{
    latest_records(
        source('ops', 'dbt_results'),
        key=['invocation_id', 'unique_id'],
        columns=[
            {'name': 'invocation_id', 'type': 'text', 'path': ['invocation_id']},
            {'name': 'unique_id', 'type': 'text', 'path': ['unique_id']},
            {'name': 'resource_type', 'type': 'text', 'path': ['resource_type']},
            {'name': 'name', 'type': 'text', 'path': ['name']},
            {'name': 'status', 'type': 'text', 'path': ['status']},
            {'name': 'execution_time', 'type': 'float', 'path': ['execution_time']},
            {'name': 'rows_affected', 'type': 'integer', 'path': ['rows_affected']},
            {'name': 'failures', 'type': 'integer', 'path': ['failures']},
            {'name': 'message', 'type': 'text', 'path': ['message']},
            {'name': 'started_at', 'type': 'timestamp', 'path': ['started_at']},
            {'name': 'completed_at', 'type': 'timestamp', 'path': ['completed_at']},
            {'name': 'flow_run_id', 'type': 'text', 'path': ['flow_run_id']},
        ],
    )
}}
