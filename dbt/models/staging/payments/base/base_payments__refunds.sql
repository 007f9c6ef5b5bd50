{#- Generated from catalog/payments.yml by `python -m groundwork render`: change the catalog, not this. -#}
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
        source('payments', 'refunds'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'text', 'path': ['id']},
            {'name': 'payment_id', 'type': 'text', 'path': ['payment']},
            {'name': 'amount', 'type': 'decimal(14,2)', 'path': ['amount', 'value']},
            {'name': 'currency', 'type': 'text', 'path': ['amount', 'currency']},
            {'name': 'reason', 'type': 'text', 'path': ['reason']},
            {'name': 'created_at', 'type': 'timestamp', 'path': ['created_at']},
            {'name': 'updated_at', 'type': 'timestamp', 'path': ['updated_at']},
        ],
    )
}}
