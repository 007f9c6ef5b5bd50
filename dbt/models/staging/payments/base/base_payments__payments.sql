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
        source('payments', 'payments'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'text', 'path': ['id']},
            {'name': 'object', 'type': 'text', 'path': ['object']},
            {'name': 'order_reference', 'type': 'text', 'path': ['order', 'reference']},
            {'name': 'order_channel', 'type': 'text', 'path': ['order', 'channel']},
            {'name': 'amount', 'type': 'decimal(14,2)', 'path': ['amount', 'value']},
            {'name': 'currency', 'type': 'text', 'path': ['amount', 'currency']},
            {'name': 'status', 'type': 'text', 'path': ['status']},
            {'name': 'method_type', 'type': 'text', 'path': ['method', 'type']},
            {'name': 'card_brand', 'type': 'text', 'path': ['method', 'card', 'brand']},
            {'name': 'card_last4', 'type': 'text', 'path': ['method', 'card', 'last4']},
            {'name': 'fees', 'type': 'json', 'path': ['fees']},
            {'name': 'created_at', 'type': 'timestamp', 'path': ['created_at']},
            {'name': 'updated_at', 'type': 'timestamp', 'path': ['updated_at']},
        ],
    )
}}
