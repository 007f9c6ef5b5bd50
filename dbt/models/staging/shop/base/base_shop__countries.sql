{#- Generated from catalog/shop.yml by `python -m groundwork render`: change the catalog, not this. -#}
{{
    config(
        materialized='incremental',
        incremental_strategy='merge' if target.type == 'snowflake' else 'delete+insert',
        unique_key=['code'],
        on_schema_change='append_new_columns',
        pre_hook='{{ empty_if_built_by_another_key() }}',
    )
}}

{{
    latest_records(
        source('shop', 'countries'),
        key=['code'],
        columns=[
            {'name': 'code', 'type': 'text'},
            {'name': 'name', 'type': 'text'},
            {'name': 'currency', 'type': 'text'},
            {'name': 'vat_rate', 'type': 'decimal(5,4)'},
        ],
        log_based=true,
    )
}}
