select
    -- ids
    cast(id as {{ dbt.type_string() }}) as customer_id,
    cast(merged_into_id as {{ dbt.type_string() }}) as merged_into_customer_id,
    country_code,

    -- strings
    email,
    name as customer_name,
    status as customer_status,
    tags,
    {{ json_text('attributes', ['language']) }} as language,

    -- timestamps
    created_at as registered_at,
    updated_at,

    -- where the row comes from, and when it passed
    _operation,
    _sequence,
    _committed_at,
    _stored_at,
    _loaded_at,
    _built_at,
    _batch_id,
    _file,
    _row,
    _run_id
from {{ ref('base_shop__customers') }}
where _operation not in ('delete', 'truncate')
