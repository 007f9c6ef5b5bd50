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
        source('shop', 'customers'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'integer'},
            {'name': 'email', 'type': 'text'},
            {'name': 'name', 'type': 'text'},
            {'name': 'country_code', 'type': 'text'},
            {'name': 'status', 'type': 'text'},
            {'name': 'tags', 'type': 'text'},
            {'name': 'attributes', 'type': 'json'},
            {'name': 'merged_into_id', 'type': 'integer'},
            {'name': 'created_at', 'type': 'timestamp'},
            {'name': 'updated_at', 'type': 'timestamp'},
        ],
        log_based=true,
    )
}}
