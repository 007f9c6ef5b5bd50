-- Orders are neither lost nor doubled on the way to what customers are worth.
with ordered as (
    select count(*) as order_count from {{ ref('stg_shop__orders') }}
),

counted as (
    select coalesce(sum(order_count), 0) as order_count from {{ ref('customers') }}
)

select
    ordered.order_count as ordered_count,
    counted.order_count as counted_count
from ordered
cross join counted
where ordered.order_count <> counted.order_count
