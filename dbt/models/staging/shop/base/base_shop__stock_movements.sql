{#- Generated from catalog/shop.yml by `python -m groundwork render`: change the catalog, not this. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',
        unique_key=['id', 'moved_at'],
        on_schema_change='append_new_columns',
        pre_hook='{{ empty_if_built_by_another_key() }}',
    )
}}

{{
    latest_records(
        source('shop', 'stock_movements'),
        key=['id', 'moved_at'],
        columns=[
            {'name': 'id', 'type': 'integer'},
            {'name': 'moved_at', 'type': 'timestamp'},
            {'name': 'product_id', 'type': 'integer'},
            {'name': 'warehouse_code', 'type': 'text'},
            {'name': 'quantity', 'type': 'integer'},
        ],
        log_based=true,
    )
}}
