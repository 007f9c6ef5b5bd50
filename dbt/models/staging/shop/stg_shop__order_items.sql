select
    -- ids
    cast(order_id as {{ dbt.type_string() }}) as order_id,
    cast(product_id as {{ dbt.type_string() }}) as product_id,

    -- numerics
    line_number,
    quantity,
    unit_price,
    line_total as line_amount,

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
from {{ ref('base_shop__order_items') }}
where _operation not in ('delete', 'truncate')
