select
    -- ids
    id as address_id,
    cast(customer_id as {{ dbt.type_string() }}) as customer_id,
    country_code,

    -- strings
    kind as address_kind,
    street,
    city,
    postal_code,

    -- booleans
    is_default,

    -- timestamps
    created_at,

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
from {{ ref('base_shop__addresses') }}
where _operation not in ('delete', 'truncate')
