select
    -- ids
    code as country_code,

    -- strings
    name as country_name,
    currency,

    -- numerics
    vat_rate,

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
from {{ ref('base_shop__countries') }}
where _operation not in ('delete', 'truncate')
