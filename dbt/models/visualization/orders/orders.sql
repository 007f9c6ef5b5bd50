with charges as (
    select
        order_id,
        count(*) as charge_count,
        sum(amount) as charged_amount,
        min(amount) as smallest_charge_amount,
        max(amount) as largest_charge_amount,
        min(currency) as currency,
        count(distinct currency) as currency_count,
        min(charged_at) as first_charged_at
    from {{ ref('stg_payments__payments') }}
    where is_charged
    group by order_id
),

refunds as (
    select
        payments.order_id,
        count(*) as refund_count,
        sum(refunds.amount) as refunded_amount
    from {{ ref('stg_payments__refunds') }} as refunds
    inner join {{ ref('stg_payments__payments') }} as payments on refunds.payment_id = payments.payment_id
    group by payments.order_id
),

-- what happened later than this, the other side cannot have told us yet
read_until as (
    select
        max(case when source_name = 'payments' then started_at end) as payments_read_until,
        max(case when source_name = 'shop' then started_at end) as shop_read_until
    from {{ ref('stg_ledger__batches') }}
),

compared as (
    select
        orders.order_id,
        orders.customer_id,
        orders.country_code,
        orders.order_status,
        orders.shipping_method,
        orders.currency,
        orders.total_amount,
        coalesce(charges.charge_count, 0) as charge_count,
        coalesce(charges.charged_amount, 0) as charged_amount,
        coalesce(refunds.refund_count, 0) as refund_count,
        coalesce(refunds.refunded_amount, 0) as refunded_amount,
        case
            when orders.paid_at < read_until.payments_read_until and charges.order_id is null then 'payment missing'
            when orders.paid_at is null and charges.first_charged_at < read_until.shop_read_until
                then 'payment unexpected'
            when charges.charge_count > 1 then 'paid twice'
            when charges.currency_count > 1 or charges.currency <> orders.currency then 'currency differs'
            when orders.paid_at is not null and charges.charged_amount <> orders.total_amount then 'amount differs'
            when
                orders.paid_at is not null
                and orders.cancelled_at < read_until.payments_read_until
                and charges.charged_amount > coalesce(refunds.refunded_amount, 0)
                then 'refund missing'
        end as mismatch_kind,
        orders.placed_at,
        orders.paid_at,
        charges.first_charged_at,
        orders.cancelled_at,
        orders._committed_at,
        orders._stored_at,
        orders._loaded_at,
        orders._file,
        orders._row,
        orders._run_id
    from {{ ref('stg_shop__orders') }} as orders
    left join charges on orders.order_id = charges.order_id
    left join refunds on orders.order_id = refunds.order_id
    cross join read_until
)

select
    order_id,
    customer_id,
    country_code,
    order_status,
    shipping_method,
    currency,
    cast(total_amount as decimal(18, 2)) as total_amount,
    cast(charge_count as bigint) as charge_count,
    cast(charged_amount as decimal(18, 2)) as charged_amount,
    cast(refund_count as bigint) as refund_count,
    cast(refunded_amount as decimal(18, 2)) as refunded_amount,
    mismatch_kind,
    placed_at,
    paid_at,
    first_charged_at,
    cancelled_at,
    _committed_at,
    _stored_at,
    _loaded_at,
    {{ utc_now() }} as _built_at,
    _file,
    _row,
    _run_id
from compared
