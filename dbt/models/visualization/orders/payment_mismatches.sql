select
    order_id,
    mismatch_kind,
    customer_id,
    currency,
    total_amount,
    charge_count,
    charged_amount,
    refunded_amount,
    -- what the provider holds beyond what the order asks for: negative when we are owed
    cast(case
        when mismatch_kind in ('payment unexpected', 'refund missing') then charged_amount - refunded_amount
        when mismatch_kind = 'currency differs' then null
        else charged_amount - total_amount
    end as decimal(18, 2)) as difference_amount,
    placed_at,
    paid_at,
    first_charged_at,
    _committed_at,
    _stored_at,
    _loaded_at,
    {{ utc_now() }} as _built_at,
    _file,
    _row,
    _run_id
from {{ ref('orders') }}
where mismatch_kind is not null
