with orders as (
    select
        orders.order_id,
        cast(orders.paid_at as date) as paid_on,
        orders.country_code,
        orders.currency,
        orders.total_amount,
        orders.cancelled_at is not null as is_cancelled,
        orders._committed_at,
        orders._stored_at,
        orders._loaded_at,
        orders._file,
        orders._row,
        orders._run_id,
        -- the order that changed last stands for the row: where it came from can be looked up
        row_number() over (
            partition by cast(orders.paid_at as date), orders.country_code, orders.currency
            order by orders._sequence desc, orders._batch_id desc, orders._file desc, orders._row desc
        ) as recency
    from {{ ref('stg_shop__orders') }} as orders
    where orders.paid_at is not null
),

days as (
    select
        paid_on,
        country_code,
        currency,
        count(*) as order_count,
        sum(case when is_cancelled then 1 else 0 end) as cancelled_order_count,
        sum(total_amount) as gross_amount,
        sum(case when is_cancelled then total_amount else 0 end) as cancelled_amount,
        max(_committed_at) as _committed_at,
        max(_stored_at) as _stored_at,
        max(_loaded_at) as _loaded_at,
        max(case when recency = 1 then _file end) as _file,
        max(case when recency = 1 then _row end) as _row,
        max(case when recency = 1 then _run_id end) as _run_id
    from orders
    group by paid_on, country_code, currency
)

select
    cast(days.paid_on as {{ dbt.type_string() }}) || '/' || days.country_code || '/' || days.currency as revenue_day_id,
    days.paid_on as day,
    days.country_code,
    coalesce(countries.country_name, days.country_code) as country_name,
    days.currency,
    cast(days.order_count as bigint) as order_count,
    cast(days.cancelled_order_count as bigint) as cancelled_order_count,
    cast(days.gross_amount as decimal(18, 2)) as gross_amount,
    cast(days.cancelled_amount as decimal(18, 2)) as cancelled_amount,
    cast(days.gross_amount - days.cancelled_amount as decimal(18, 2)) as revenue_amount,
    cast({{ decimal_division(
        '(days.gross_amount - days.cancelled_amount)', '(1 + coalesce(countries.vat_rate, 0))', 2
    ) }} as decimal(18, 2)) as revenue_before_tax_amount,
    days._committed_at,
    days._stored_at,
    days._loaded_at,
    {{ utc_now() }} as _built_at,
    days._file,
    days._row,
    days._run_id
from days
left join {{ ref('stg_shop__countries') }} as countries on days.country_code = countries.country_code
