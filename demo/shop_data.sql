-- The shop's history: more than 250,000 rows, the same on every machine for the same demo.today.
--
-- Run once, by the superuser, after shop.sql. The server makes all of it out of row numbers:
-- pg_temp.draw(row, salt) is a number from 0 to below 1 that looks random and never changes.
-- Nothing is later than the midnight (UTC) that begins demo.today.

select set_config('demo.generating', 'on', false);
set timezone = 'UTC';

create function pg_temp.draw(row_number bigint, salt integer) returns double precision
language sql immutable parallel safe
return ((hashint8extended(row_number, salt) >> 12) & 4503599627370495)::double precision / 4503599627370496;

create function pg_temp.pick(choices text [], row_number bigint, salt integer) returns text
language sql immutable parallel safe
return choices[1 + floor(pg_temp.draw(row_number, salt) * cardinality(choices))::integer];

-- the instant so many days before demo.today
create function pg_temp.ago(days double precision) returns timestamptz
language sql stable
return current_setting('demo.today')::date::timestamptz
    - floor(days * 86400000000) * interval '1 microsecond';

insert into countries values
('DE', 'Germany', 'EUR', 0.1900), ('FR', 'France', 'EUR', 0.2000), ('IT', 'Italy', 'EUR', 0.2200),
('ES', 'Spain', 'EUR', 0.2100), ('NL', 'Netherlands', 'EUR', 0.2100), ('GB', 'United Kingdom', 'GBP', 0.2000),
('PL', 'Poland', 'PLN', 0.2300), ('AT', 'Austria', 'EUR', 0.2000), ('SE', 'Sweden', 'SEK', 0.2500),
('CH', 'Switzerland', 'CHF', 0.0810), ('DK', 'Denmark', 'DKK', 0.2500), ('US', 'United States', 'USD', 0.0000);

-- what a price in EUR is multiplied with
create temp table rates (currency text primary key, rate numeric not null);
insert into rates values
('EUR', 1), ('GBP', 0.86), ('PLN', 4.32), ('SEK', 11.30), ('CHF', 0.95), ('DKK', 7.46), ('USD', 1.09);

insert into categories
select
    i, case when i > 8 then 1 + (i - 9) / 4 end,
    case
        when i <= 8 then (array['Kitchen', 'Garden', 'Office', 'Outdoor', 'Toys', 'Books', 'Music', 'Café & Tea'])[i]
        else (array['Basics', 'Premium', 'Seasonal', 'Spare parts'])[1 + (i - 9) % 4]
    end
from generate_series(1, 40) as i;

insert into customers (id, email, name, country_code, status, tags, attributes, merged_into_id, created_at, updated_at)
select
    i, format('%s.%s%s@example.%s', lower(translate(first_name, 'ëŁÉéü', 'eLEeu')), 'c', i, pg_temp.pick('{com,org,net}', i, 5)),
    first_name || ' ' || pg_temp.pick(array['Meyer', 'O''Brien', 'Núñez', 'Müller', 'de Vries', 'Kowalski', 'Smith', 'Rossi', 'Lindström', '"Bo" Hansen', 'D''Angelo', 'Weiß'], i, 2),
    (array['DE', 'FR', 'GB', 'IT', 'ES', 'NL', 'PL', 'SE', 'AT', 'CH', 'DK', 'US'])[1 + floor(12 * power(pg_temp.draw(i, 3), 1.6))::integer],
    case when i > 200 and i % 70 = 0 then 'merged' when i % 199 = 0 then 'blocked' else 'active' end::customer_status,
    case i % 10
        when 0 then '{}' when 1 then '{vip}' when 2 then '{newsletter,"likes, commas"}' when 3 then array['quote"d', null, 'back\slash']
        else array['newsletter']
    end,
    case when i % 6 <> 0 then
        jsonb_build_object(
            'language', pg_temp.pick('{de,fr,en,it,es,pl}', i, 6),
            'birth_year', 1945 + i * 31 % 60,
            'consent', jsonb_build_object('mail', i % 3 = 0, 'since', pg_temp.ago(900 - i * 0.075)::date),
            'score', round(pg_temp.draw(i, 7)::numeric * 100, 3)
        )
    end,
    case when i > 200 and i % 70 = 0 then i - 1 - floor(pg_temp.draw(i, 8) * 60)::integer end,
    pg_temp.ago(900 - i * 0.075), pg_temp.ago((900 - i * 0.075) * pg_temp.draw(i, 9))
from
    (select i, pg_temp.pick('{Anna,Zoë,Łukasz,Marie,John,Élise,Paul,Sofia,Jürgen,Ines,Mads,Chloé}', i, 1) as first_name
    from generate_series(1, 12000) as i);

insert into addresses
select
    md5('address ' || i)::uuid, customer.id, case when i <= 12000 then 'billing' else 'shipping' end::address_kind,
    format('%s %s', pg_temp.pick(array['Hauptstraße', 'Rue de l''Église', 'High Street', 'Via Roma', 'Gran Vía', 'ul. Długa'], i, 11), 1 + i * 13 % 220),
    pg_temp.pick('{Berlin,Paris,London,Roma,Madrid,Kraków,Göteborg,Zürich,Wien}', i, 12),
    lpad((i * 7717 % 100000)::text, 5, '0'), customer.country_code, i <= 12000,
    customer.created_at + case when i <= 12000 then interval '0' else interval '3 hours' end
from generate_series(1, 15000) as i
inner join customers as customer on customer.id = case when i <= 12000 then i else (i - 12000) * 4 end;

insert into products
(id, sku, name, category_id, description, price, cost, weight_kg, dimensions, tags, is_active, created_at, updated_at)
select
    i, format('GW-%s-%s', lpad(i::text, 5, '0'), upper(substr(md5(i::text), 1, 3))),
    pg_temp.pick('{Oak,Steel,Linen,Copper,Glass,Paper,Velvet,Stone}', i, 21) || ' '
    || pg_temp.pick(array['Lamp', 'Kettle', 'Notebook', 'Chair', 'Teapot', 'Puzzle', 'Tent', 'Vase', '5" Frame'], i, 22),
    9 + i % 32, words.description,
    price, round(price * (0.45 + 0.3 * pg_temp.draw(i, 24))::numeric, 2),
    case when i % 11 <> 0 then 0.05 + 30 * power(pg_temp.draw(i, 25), 3) end,
    case when i % 7 <> 0 then jsonb_build_object('unit', 'cm', 'size', jsonb_build_array(5 + i % 90, 3 + i % 45, 1 + i % 20)) end,
    case when i % 4 = 0 then array['sale', pg_temp.pick('{red,green,blue}', i, 26)] else array[pg_temp.pick('{red,green,blue}', i, 26)] end,
    i % 25 <> 0, pg_temp.ago(900 - i * 0.4), pg_temp.ago((900 - i * 0.4) * pg_temp.draw(i, 27))
from
    (select i, round((2.5 + 400 * power(pg_temp.draw(i, 23), 4))::numeric, 2) as price from generate_series(1, 1200) as i),
    lateral (
        -- more than 2 kB for two of three products, so that PostgreSQL keeps them out of line
        select string_agg(pg_temp.pick('{sturdy,handmade,for,the,daily,use,of,coffee,in,a,small,kitchen,garden,with,love,naïve,résumé,and,care}', i * 1000 + word, 28), ' ' order by word) as description
        from generate_series(1, case when i % 3 = 0 then 25 else 420 end) as word
    ) as words;

-- two changes of each price, the newest of which made the price of today
insert into price_changes (product_id, old_price, new_price, changed_at)
select id, old_price, new_price, pg_temp.ago(days)
from (
    select
        id, 350 - 0.25 * id + 50 * pg_temp.draw(id, 31) as days,
        round(price * 0.92, 2) as old_price, round(price * 1.06, 2) as new_price
    from products
    union all
    select id, 2 + 40 * pg_temp.draw(id, 32), round(price * 1.06, 2), price from products
)
order by days desc;

-- orders become more frequent with time; a customer is older than the orders
create temp table drafts as
select
    i as id, days, pg_temp.ago(days) as placed_at,
    1 + floor((900 - days) / 0.075 * power(pg_temp.draw(i, 42), 1.7) * 0.999)::bigint as customer_id,
    pg_temp.draw(i, 43) as fate,
    pg_temp.draw(i, 44) as speed,
    (array[1, 1, 2, 2, 2, 3, 3, 3, 4, 4])[1 + i % 10] as line_count,
    i % 5 = 0 as is_pickup
from generate_series(1, 30000) as i,
    lateral (select 400 * (1 - power((i - pg_temp.draw(i, 45)) / 30000.0, 0.8)) as days);

-- the orders of a customer that was merged away belong to another one
update drafts set customer_id = customer_id - 1 where customer_id > 200 and customer_id % 70 = 0;

create temp table draft_items as
select
    drafts.id as order_id, line_number, product.id as product_id,
    1 + floor(3.999 * power(pg_temp.draw(drafts.id * 10 + line_number, 52), 3))::integer as quantity,
    round(product.price * rates.rate, 2) as unit_price
from drafts
cross join lateral generate_series(1, line_count) as line_number
inner join products as product
    on product.id = 1 + floor(1200 * power(pg_temp.draw(drafts.id * 10 + line_number, 51), 2))::integer
inner join customers on customers.id = drafts.customer_id
inner join countries on countries.code = customers.country_code
inner join rates on rates.currency = countries.currency;

insert into orders
(id, customer_id, status, currency, country_code, total_amount, shipping, note, placed_at, paid_at, cancelled_at, updated_at)
select
    drafts.id, drafts.customer_id,
    case
        when is_cancelled then 'cancelled' when not is_paid then 'placed'
        when days < 1.5 + speed then 'paid'
        when days < 4 + 3 * speed and not is_pickup then 'shipped'
        else 'delivered'
    end::order_status,
    countries.currency, customers.country_code, total_amount,
    jsonb_build_object(
        'method', case when is_pickup then 'pickup' when drafts.id % 7 = 0 then 'express' else 'standard' end,
        'address_id', md5('address ' || drafts.customer_id)::uuid, 'parcels', 1 + line_count / 3, 'gift', drafts.id % 13 = 0
    ),
    case when drafts.id % 9 = 0 then pg_temp.pick(array['Leave at the door', E'Ring twice,\nthen wait', 'C''est un cadeau 🎁', '', 'null', 'tab\there'], drafts.id, 46) end,
    placed_at, paid_at, cancelled_at,
    greatest(
        placed_at, paid_at, cancelled_at,
        case when is_paid and not is_cancelled then least(placed_at + (1.5 + speed) * interval '1 day', pg_temp.ago(0)) end
    )
from drafts
inner join (select order_id, sum(quantity * unit_price) as total_amount from draft_items group by order_id) as totals
    on totals.order_id = drafts.id
inner join customers on customers.id = drafts.customer_id
inner join countries on countries.code = customers.country_code
cross join lateral (
    select fate < 0.05 and days > 3 as is_cancelled, fate >= 0.02 and days > 0.3 * speed as is_paid
)
cross join lateral (
    select
        case when is_paid then placed_at + (power(speed, 4) * 0.3) * interval '1 day' end as paid_at,
        case when is_cancelled then placed_at + (0.4 + 2 * speed) * interval '1 day' end as cancelled_at
)
order by drafts.id;

insert into order_items (order_id, line_number, product_id, quantity, unit_price)
select order_id, line_number, product_id, quantity, unit_price from draft_items order by order_id, line_number;

insert into shipments
select
    md5('shipment ' || id)::uuid, id, carrier, upper(substr(md5('tracking ' || id), 1, 14)), shipped_at,
    case when status = 'delivered' then shipped_at + transit end, case when status = 'delivered' then transit end
from (
    select
        id, status, pg_temp.pick('{DHL,UPS,GLS,La Poste,PostNord}', id, 61) as carrier,
        placed_at + (1.0 + 0.5 * pg_temp.draw(id, 62)) * interval '1 day' as shipped_at,
        make_interval(days => floor(3 * pg_temp.draw(id, 63))::integer, hours => 4, secs => round(36000 * pg_temp.draw(id, 64)))
            as transit
    from orders
    where status in ('shipped', 'delivered') and shipping ->> 'method' <> 'pickup'
)
order by shipped_at;

insert into returns (order_id, line_number, quantity, reason, returned_on)
select
    orders.id, 1, 1, pg_temp.pick(array['too small', 'broken', 'not as described', 'changed my mind'], orders.id, 71),
    (orders.placed_at + interval '9 days')::date
from orders
where status = 'delivered' and pg_temp.draw(orders.id, 72) < 0.056 and placed_at < pg_temp.ago(10)
order by orders.placed_at;

insert into stock_movements (id, moved_at, product_id, warehouse_code, quantity)
select
    i, pg_temp.ago(400 * (1 - (i - pg_temp.draw(i, 81)) / 40000)), 1 + floor(1200 * pg_temp.draw(i, 82))::bigint,
    pg_temp.pick('{BER-1,LYO-1,MAN-2}', i, 83),
    case when i % 6 = 0 then 100 + floor(400 * pg_temp.draw(i, 84))::integer else -1 - floor(5 * pg_temp.draw(i, 84))::integer end
from generate_series(1, 40000) as i;

insert into page_views
select
    pg_temp.ago(60 * (1 - (i - pg_temp.draw(i, 91)) / 60000)),
    case when i % 3 <> 0 then 1 + floor(12000 * pg_temp.draw(i, 92))::bigint end,
    case when i % 5 <> 0 then 1 + floor(1200 * power(pg_temp.draw(i, 93), 2))::bigint end,
    case when i % 5 <> 0 then '/products/' else pg_temp.pick('{/,/search?q=tea%20pot,/basket,/checkout}', i, 94) end,
    case
        when i % 17 = 0 then null
        when i % 4 = 0 then ('2001:db8::' || to_hex(i))::inet
        else ('10.' || i % 250 || '.' || i / 250 % 250 || '.7')::inet
    end
from generate_series(1, 60000) as i;

-- a few views were recorded twice: rows of a table without a key may be equal in every column
insert into page_views
select * from page_views where extract(microseconds from viewed_at)::bigint % 997 = 0;

do $$
declare
    counted record;
begin
    for counted in values ('customers'), ('products'), ('price_changes'), ('orders'), ('returns'), ('stock_movements') loop
        execute format(
            'select setval(pg_get_serial_sequence(%L, ''id''), (select max(id) from %I))', counted.column1, counted.column1
        );
    end loop;
end
$$;

drop table drafts, draft_items, rates;
select set_config('demo.generating', 'off', false);
