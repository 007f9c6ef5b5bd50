select
    -- ids
    id as payment_id,
    order_reference as order_id,

    -- strings
    order_channel as channel,
    status as payment_status,
    currency,
    method_type as payment_method,
    card_brand,

    -- numerics
    amount,

    -- booleans
    coalesce(status in ('succeeded', 'refunded'), false) as is_charged,

    -- timestamps
    created_at as charged_at,
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
from {{ ref('base_payments__payments') }}
where _operation not in ('delete', 'truncate')
