select
    -- ids
    cast(id as {{ dbt.type_string() }}) as order_id,
    cast(customer_id as {{ dbt.type_string() }}) as customer_id,
    country_code,

    -- strings
    status as order_status,
    currency,
    {{ json_text('shipping', ['method']) }} as shipping_method,
    note as customer_note,

    -- numerics
    total_amount,

    -- timestamps
    placed_at,
    paid_at,
    cancelled_at,
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
from {{ ref('base_shop__orders') }}
where _operation not in ('delete', 'truncate')
