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
        source('shop', 'returns'),
        key=['id'],
        columns=[
            {'name': 'id', 'type': 'integer'},
            {'name': 'order_id', 'type': 'integer'},
            {'name': 'line_number', 'type': 'integer'},
            {'name': 'quantity', 'type': 'integer'},
            {'name': 'reason', 'type': 'text'},
            {'name': 'returned_on', 'type': 'date'},
        ],
        log_based=true,
    )
}}
