select
    -- ids
    cast(id as {{ dbt.type_string() }}) as category_id,
    cast(parent_id as {{ dbt.type_string() }}) as parent_category_id,

    -- strings
    name as category_name,

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
from {{ ref('base_shop__categories') }}
where _operation not in ('delete', 'truncate')
