select
    -- ids
    id as shipment_id,
    cast(order_id as {{ dbt.type_string() }}) as order_id,

    -- strings
    carrier,
    tracking_number,
    transit as transit_interval,

    -- timestamps
    shipped_at,
    delivered_at,

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
from {{ ref('base_shop__shipments') }}
where _operation not in ('delete', 'truncate')
