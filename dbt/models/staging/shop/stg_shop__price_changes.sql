select
    -- ids
    cast(id as {{ dbt.type_string() }}) as price_change_id,
    cast(product_id as {{ dbt.type_string() }}) as product_id,

    -- numerics
    old_price,
    new_price,

    -- timestamps
    changed_at,

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
from {{ ref('base_shop__price_changes') }}
where _operation not in ('delete', 'truncate')
