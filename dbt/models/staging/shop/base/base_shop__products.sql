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
        source('shop', 'products'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'integer'},
            {'name': 'sku', 'type': 'text'},
            {'name': 'name', 'type': 'text'},
            {'name': 'category_id', 'type': 'integer'},
            {'name': 'description', 'type': 'text'},
            {'name': 'price', 'type': 'decimal(12,2)'},
            {'name': 'cost', 'type': 'decimal(12,2)'},
            {'name': 'weight_kg', 'type': 'float'},
            {'name': 'dimensions', 'type': 'json'},
            {'name': 'tags', 'type': 'text'},
            {'name': 'is_active', 'type': 'boolean'},
            {'name': 'created_at', 'type': 'timestamp'},
            {'name': 'updated_at', 'type': 'timestamp'},
        ],
        log_based=true,
    )
}}
