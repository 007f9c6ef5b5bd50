{#- Generated from catalog/shop.yml by `python -m groundwork render`: change the catalog, not this. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',
        unique_key=['_file', '_row'],
        on_schema_change='append_new_columns',
        pre_hook='{{ empty_if_built_by_another_key() }}',
    )
}}

{{
    keyless_records(
        source('shop', 'page_views'),
        columns=[
            {'name': 'viewed_at', 'type': 'timestamp'},
            {'name': 'customer_id', 'type': 'integer'},
            {'name': 'product_id', 'type': 'integer'},
            {'name': 'path', 'type': 'text'},
            {'name': 'client_address', 'type': 'text'},
        ],
    )
}}
