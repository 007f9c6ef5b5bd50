with sold as (
    select
        items.product_id,
        orders.currency,
        count(distinct items.order_id) as order_count,
        sum(items.quantity) as sold_quantity,
        sum(items.line_amount) as sold_amount
    from {{ ref('stg_shop__order_items') }} as items
    inner join {{ ref('stg_shop__orders') }} as orders on items.order_id = orders.order_id
    where orders.paid_at is not null and orders.cancelled_at is null
    group by items.product_id, orders.currency
),

returned as (
    select
        items.product_id,
        orders.currency,
        sum(returns.quantity) as returned_quantity,
        sum(returns.quantity * items.unit_price) as returned_amount
    from {{ ref('stg_shop__returns') }} as returns
    inner join {{ ref('stg_shop__order_items') }} as items
        on returns.order_id = items.order_id and returns.line_number = items.line_number
    inner join {{ ref('stg_shop__orders') }} as orders on returns.order_id = orders.order_id
    where orders.paid_at is not null and orders.cancelled_at is null
    group by items.product_id, orders.currency
),

views as (
    select
        product_id,
        count(*) as view_count
    from {{ ref('stg_shop__page_views') }}
    where product_id is not null
    group by product_id
),

prices as (
    select
        product_id,
        count(*) as price_change_count
    from {{ ref('stg_shop__price_changes') }}
    group by product_id
)

select
    products.product_id || '/' || coalesce(sold.currency, '{{ var("home_currency") }}') as product_performance_id,
    products.product_id,
    products.sku,
    products.product_name,
    categories.category_name,
    products.is_active,
    coalesce(sold.currency, '{{ var("home_currency") }}') as currency,
    cast(coalesce(sold.order_count, 0) as bigint) as order_count,
    cast(coalesce(sold.sold_quantity, 0) as bigint) as sold_quantity,
    cast(coalesce(sold.sold_amount, 0) as decimal(18, 2)) as sold_amount,
    cast(coalesce(returned.returned_quantity, 0) as bigint) as returned_quantity,
    cast(coalesce(returned.returned_amount, 0) as decimal(18, 2)) as returned_amount,
    cast({{ decimal_division('coalesce(returned.returned_quantity, 0)', 'sold.sold_quantity', 4) }} as decimal(9, 4))
        as returned_fraction,
    -- costs are kept in the home currency: a margin in another one would be made up
    cast(case
        when coalesce(sold.currency, '{{ var("home_currency") }}') = '{{ var("home_currency") }}'
            then coalesce(sold.sold_amount, 0) - coalesce(sold.sold_quantity, 0) * products.cost
    end as decimal(18, 2)) as margin_amount,
    cast(coalesce(views.view_count, 0) as bigint) as view_count,
    cast(coalesce(prices.price_change_count, 0) as bigint) as price_change_count,
    cast(products.price as decimal(18, 2)) as price,
    products._committed_at,
    products._stored_at,
    products._loaded_at,
    {{ utc_now() }} as _built_at,
    products._file,
    products._row,
    products._run_id
from {{ ref('stg_shop__products') }} as products
left join {{ ref('stg_shop__categories') }} as categories on products.category_id = categories.category_id
left join sold on products.product_id = sold.product_id
left join returned on sold.product_id = returned.product_id and sold.currency = returned.currency
left join views on products.product_id = views.product_id
left join prices on products.product_id = prices.product_id
