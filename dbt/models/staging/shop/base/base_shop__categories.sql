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
        source('shop', 'categories'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'integer'},
            {'name': 'parent_id', 'type': 'integer'},
            {'name': 'name', 'type': 'text'},
        ],
        log_based=true,
    )
}}
