{#- Generated from catalog/shop.yml by `python -m groundwork render`: change the catalog, not this. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',
        unique_key=['order_id', 'line_number'],
        on_schema_change='append_new_columns',
        pre_hook='{{ empty_if_built_by_another_key() }}',
    )
}}

{{
    latest_records(
        source('shop', 'order_items'),
        key=['order_id', 'line_number'],
        columns=[
            {'name': 'order_id', 'type': 'integer'},
            {'name': 'line_number', 'type': 'integer'},
            {'name': 'product_id', 'type': 'integer'},
            {'name': 'quantity', 'type': 'integer'},
            {'name': 'unit_price', 'type': 'decimal(12,2)'},
            {'name': 'line_total', 'type': 'decimal(14,2)'},
        ],
        log_based=true,
    )
}}
