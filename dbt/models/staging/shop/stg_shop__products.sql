select
    -- ids
    cast(id as {{ dbt.type_string() }}) as product_id,
    cast(category_id as {{ dbt.type_string() }}) as category_id,
    sku,

    -- strings
    name as product_name,
    description,
    tags,

    -- numerics
    price,
    cost,
    weight_kg,

    -- booleans
    is_active,

    -- timestamps
    created_at,
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
from {{ ref('base_shop__products') }}
where _operation not in ('delete', 'truncate')
