select
    -- ids
    id as refund_id,
    payment_id,

    -- strings
    currency,
    reason,

    -- numerics
    amount,

    -- timestamps
    created_at as refunded_at,
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
from {{ ref('base_payments__refunds') }}
where _operation not in ('delete', 'truncate')
