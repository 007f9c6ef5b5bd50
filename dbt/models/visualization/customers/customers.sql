with recursive customers as (
    select
        customer_id,
        merged_into_customer_id,
        customer_name,
        email,
        customer_status,
        country_code,
        registered_at,
        _committed_at,
        _stored_at,
        _loaded_at,
        _file,
        _row,
        _run_id
    from {{ ref('stg_shop__customers') }}
),

-- every customer with the one they live on in, through as many mergers as there were
survivors as (
    select
        customers.customer_id,
        customers.customer_id as survivor_id,
        0 as mergers
    from customers
    left join customers as target on customers.merged_into_customer_id = target.customer_id
    where target.customer_id is null
    union all
    select
        customers.customer_id,
        survivors.survivor_id,
        survivors.mergers + 1 as mergers
    from survivors
    inner join customers on survivors.customer_id = customers.merged_into_customer_id
    where survivors.mergers < 20
),

orders as (
    select
        survivors.survivor_id,
        orders.currency,
        orders.placed_at,
        case when orders.paid_at is not null and orders.cancelled_at is null then 1 else 0 end as is_kept,
        case when orders.paid_at is not null and orders.cancelled_at is null then orders.total_amount else 0 end
            as kept_amount,
        returned.refunded_amount
    from {{ ref('stg_shop__orders') }} as orders
    inner join survivors on orders.customer_id = survivors.customer_id
    left join {{ ref('orders') }} as returned
        on orders.order_id = returned.order_id and orders.cancelled_at is null and orders.paid_at is not null
),

lifetimes as (
    select
        orders.survivor_id,
        count(*) as order_count,
        sum(orders.is_kept) as paid_order_count,
        sum(case when orders.currency = countries.currency then orders.kept_amount else 0 end) as paid_amount,
        sum(case when orders.currency = countries.currency then coalesce(orders.refunded_amount, 0) else 0 end)
            as refunded_amount,
        sum(case when orders.currency = countries.currency then 0 else orders.is_kept end)
            as other_currency_order_count,
        min(orders.placed_at) as first_ordered_at,
        max(orders.placed_at) as last_ordered_at
    from orders
    inner join customers on orders.survivor_id = customers.customer_id
    left join {{ ref('stg_shop__countries') }} as countries on customers.country_code = countries.country_code
    group by orders.survivor_id
),

mergers as (
    select
        survivor_id,
        count(*) - 1 as merged_customer_count
    from survivors
    group by survivor_id
)

select
    customers.customer_id,
    customers.customer_name,
    customers.email,
    customers.customer_status,
    customers.country_code,
    countries.currency,
    cast(mergers.merged_customer_count as bigint) as merged_customer_count,
    cast(coalesce(lifetimes.order_count, 0) as bigint) as order_count,
    cast(coalesce(lifetimes.paid_order_count, 0) as bigint) as paid_order_count,
    cast(coalesce(lifetimes.paid_amount, 0) as decimal(18, 2)) as paid_amount,
    cast(coalesce(lifetimes.refunded_amount, 0) as decimal(18, 2)) as refunded_amount,
    cast(coalesce(lifetimes.paid_amount - lifetimes.refunded_amount, 0) as decimal(18, 2)) as lifetime_value,
    cast(coalesce(lifetimes.other_currency_order_count, 0) as bigint) as other_currency_order_count,
    customers.registered_at,
    lifetimes.first_ordered_at,
    lifetimes.last_ordered_at,
    customers._committed_at,
    customers._stored_at,
    customers._loaded_at,
    {{ utc_now() }} as _built_at,
    customers._file,
    customers._row,
    customers._run_id
from customers
inner join mergers on customers.customer_id = mergers.survivor_id
left join lifetimes on customers.customer_id = lifetimes.survivor_id
left join {{ ref('stg_shop__countries') }} as countries on customers.country_code = countries.country_code
