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
        source('shop', 'addresses'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'text'},
            {'name': 'customer_id', 'type': 'integer'},
            {'name': 'kind', 'type': 'text'},
            {'name': 'street', 'type': 'text'},
            {'name': 'city', 'type': 'text'},
            {'name': 'postal_code', 'type': 'text'},
            {'name': 'country_code', 'type': 'text'},
            {'name': 'is_default', 'type': 'boolean'},
            {'name': 'created_at', 'type': 'timestamp'},
        ],
        log_based=true,
    )
}}
