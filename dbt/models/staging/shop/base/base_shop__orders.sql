{#- Generated from catalog/shop.yml by `python -m groundwork render`: change the catalog, not this. -#}
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
        source('shop', 'orders'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'integer'},
            {'name': 'customer_id', 'type': 'integer'},
            {'name': 'status', 'type': 'text'},
            {'name': 'currency', 'type': 'text'},
            {'name': 'country_code', 'type': 'text'},
            {'name': 'total_amount', 'type': 'decimal(14,2)'},
            {'name': 'shipping', 'type': 'json'},
            {'name': 'note', 'type': 'text'},
            {'name': 'placed_at', 'type': 'timestamp'},
            {'name': 'paid_at', 'type': 'timestamp'},
            {'name': 'cancelled_at', 'type': 'timestamp'},
            {'name': 'updated_at', 'type': 'timestamp'},
        ],
        log_based=true,
    )
}}
