-- The application: tables of every kind of identity, and transactions that do all that PostgreSQL's log can tell.
-- Each function is one transaction's work; it returns how many rows it changed. Choices follow from a seed.

create schema chaos;
create schema "Odd Schema";

create table orders (
    id bigint primary key, customer bigint, amount numeric, placed timestamptz, note text,
    doubled numeric generated always as (amount * 2) stored
);
create table lines (order_id bigint, line int, what text, price numeric, primary key (order_id, line));
alter table lines replica identity full;
create table moments (at timestamptz, kind text, value float8);
alter table moments replica identity full;
create table docs (id bigint primary key, title text, body text, extra text);
create table papers (id bigint primary key, title text, body text, extra text);
alter table papers replica identity full;
create table accounts (id bigint primary key, owner text, balance numeric, statement text);
alter table docs alter column body set storage external, alter column extra set storage external;
alter table papers alter column body set storage external, alter column extra set storage external;
alter table accounts alter column statement set storage external;
create table churned (id bigint primary key, n int, t text);
create table shapes (id bigint primary key, fixed text, v1 int);
create table parts (id bigint, region int, t text, primary key (id, region)) partition by list (region);
create table parts_1 partition of parts for values in (1);
create table parts_2 (t text, dropped int, region int not null, id bigint not null);
alter table parts_2 drop column dropped;
alter table parts attach partition parts_2 for values in (2);
create table cleared (id bigint primary key, t text);
create table cleared_too (id bigint primary key, parent bigint references cleared (id), t text);
create table reborn (id bigint primary key, t text);
create table "Odd Schema"."Größe ""x"" of $it" (
    "Key of It" bigint primary key, "select" text, "näme, with = signs" text
);

create function chaos.pick(seed bigint, i int, m int) returns int language sql immutable as $$
    select ((hashint8extended(i, seed) & 9223372036854775807) % m)::int
$$;

create function chaos.odd(seed bigint, i int) returns text language sql immutable as $$
    select case chaos.pick(seed, i, 9)
        when 0 then null when 1 then '' when 2 then E'tab\tnew\nline\\N' when 3 then 'émoji 🙂 ' || i
        when 4 then repeat('x', 300) else md5(seed::text || i) end
$$;

create function chaos.big(seed bigint, i int) returns text language sql immutable as $$
    select string_agg(md5((seed + i * 1000 + j)::text), '') from generate_series(1, 70) j
$$;

create function chaos.changed(inout total int, command text) language plpgsql as $$
declare n int;
begin
    execute command;
    get diagnostics n = row_count;
    total := total + n;
end $$;

-- Several tables in one transaction: inserts, upserts, updates, deletes, unchanged large values.
create function chaos.mix(worker int, seed bigint) returns int language plpgsql as $$
declare n int := 0; c int; first bigint := chaos.pick(seed, 1, 1200);
begin
    insert into orders (id, customer, amount, placed, note)
        select (first + i) * 8 + worker, chaos.pick(seed, i, 500), (chaos.pick(seed, i, 99999) / 7.0)::numeric(30, 9),
            timestamptz '2026-01-01' + make_interval(secs => chaos.pick(seed, i + 50, 9999999)), chaos.odd(seed, i)
        from generate_series(0, 9) i
        on conflict (id) do update set amount = excluded.amount, note = excluded.note;
    get diagnostics c = row_count; n := n + c;
    insert into lines select (first + i) * 8 + worker, j, chaos.odd(seed, i * j), chaos.pick(seed, j, 1000)
        from generate_series(0, 4) i, generate_series(1, 3) j
        on conflict (order_id, line) do update set price = excluded.price + 1;
    get diagnostics c = row_count; n := n + c;
    update orders set note = chaos.odd(seed, 77), placed = 'infinity'
        where id % 8 = worker and id between (first - 12) * 8 and first * 8;
    get diagnostics c = row_count; n := n + c;
    delete from lines where order_id % 8 = worker and order_id between (first - 3) * 8 and (first - 1) * 8;
    get diagnostics c = row_count; n := n + c;
    insert into moments select now(), chaos.odd(seed, 1), i / 3.0 from generate_series(1, 4) i;
    get diagnostics c = row_count; n := n + c;
    delete from moments where ctid = any (array(select ctid from moments for update skip locked limit 3));
    get diagnostics c = row_count; n := n + c;
    update moments set kind = chaos.odd(seed, 5)
        where ctid = any (array(select ctid from moments for update skip locked limit 2));
    get diagnostics c = row_count; n := n + c;
    insert into docs select chaos.pick(seed, 2, 300) * 8 + worker, chaos.odd(seed, 3), chaos.big(seed, 1),
        case when chaos.pick(seed, 3, 3) > 0 then chaos.big(seed, 2) end
        on conflict (id) do update set title = excluded.title, extra = excluded.extra;
    insert into papers select chaos.pick(seed, 4, 100) * 8 + worker, chaos.odd(seed, 3), chaos.big(seed, 1), chaos.big(seed, 3)
        on conflict (id) do update set title = excluded.title, body = excluded.body;
    n := n + 2;
    update docs set title = chaos.odd(seed, 8)
        where id % 8 = worker and id between chaos.pick(seed, 9, 300) * 8 and (chaos.pick(seed, 9, 300) + 6) * 8;
    get diagnostics c = row_count; n := n + c;
    update papers set title = chaos.odd(seed, 8)
        where id % 8 = worker and id between chaos.pick(seed, 9, 100) * 8 and (chaos.pick(seed, 9, 100) + 3) * 8;
    get diagnostics c = row_count; n := n + c;
    insert into shapes (id, fixed) select (first + i) * 8 + worker, chaos.odd(seed, i) from generate_series(0, 2) i
        on conflict (id) do update set fixed = excluded.fixed;
    delete from shapes where id % 8 = worker and id between (first - 4) * 8 and (first - 2) * 8;
    insert into "Odd Schema"."Größe ""x"" of $it" select chaos.pick(seed, 6, 200) * 8 + worker, chaos.odd(seed, 2), chaos.odd(seed, 4)
        on conflict ("Key of It") do update set "select" = excluded."select";
    return n + 4;
end $$;

-- Keys that move, there and back, with a large value that the log does not repeat.
create function chaos.moves(worker int, seed bigint) returns int language plpgsql as $$
declare n int := 0; c int; first bigint := chaos.pick(seed, 1, 150);
begin
    insert into accounts select k, chaos.odd(seed, k::int), k, chaos.big(seed, k::int)
        from (select (first + i) * 8 + worker + 8 from generate_series(0, 3) i) t (k)
        where not exists (select from accounts a where a.id in (k, -k));
    get diagnostics c = row_count; n := n + c;
    update accounts set id = -id where abs(id) % 8 = worker and abs(id) between first * 8 and (first + 8) * 8;
    get diagnostics c = row_count; n := n + c;
    update accounts set balance = balance + 1
        where abs(id) % 8 = worker and abs(id) between first * 8 and (first + 12) * 8;
    get diagnostics c = row_count; n := n + c;
    if chaos.pick(seed, 5, 3) = 0 then
        update accounts set id = -id, owner = chaos.odd(seed, 2)
            where abs(id) % 8 = worker and abs(id) between first * 8 and (first + 4) * 8;
        get diagnostics c = row_count; n := n + c;
    end if;
    update lines set line = line + 10 where order_id % 8 = worker and line between 1 and 3
        and order_id between first * 8 and (first + 2) * 8
        and not exists (select from lines o where o.order_id = lines.order_id and o.line = lines.line + 10);
    get diagnostics c = row_count; n := n + c;
    delete from accounts where abs(id) % 8 = worker and abs(id) between (first - 2) * 8 and (first - 1) * 8;
    get diagnostics c = row_count;
    return n + c;
end $$;

-- One key inserted, updated and deleted in one transaction; subtransactions kept and rolled back, also nested.
create function chaos.churn(worker int, seed bigint) returns int language plpgsql as $$
declare n int := 0; k bigint;
begin
    for i in 1..6 loop
        k := (chaos.pick(seed, i, 400)) * 8 + worker;
        delete from churned where id = k;
        insert into churned values (k, i, chaos.odd(seed, i));
        update churned set n = -i where id = k;
        begin
            insert into churned values (-k - 8, i, 'kept or not');
            begin
                update churned set t = 'never seen' where id = k;
                insert into orders (id) values (-k - 8);
                raise exception sqlstate 'CH000';
            exception when sqlstate 'CH000' then null;
            end;
            delete from churned where id = -k - 8;
            if i % 2 = 0 then raise exception sqlstate 'CH000'; end if;
            n := n + 2;
        exception when sqlstate 'CH000' then null;
        end;
        if i % 3 = 0 then
            delete from churned where id = k;
            n := n + 1;
        end if;
        n := n + 2;
    end loop;
    perform pg_logical_emit_message(true, 'application', 'a message of its own');
    return n;
end $$;

-- TRUNCATE of one, of two, and by CASCADE, between inserts of the same transaction.
create function chaos.clear(worker int, seed bigint) returns int language plpgsql as $$
declare first bigint := chaos.pick(seed, 1, 100000) * 100;
begin
    if chaos.pick(seed, 2, 3) = 0 then
        insert into cleared select -first - i - 1, 'gone at once' from generate_series(1, 5) i on conflict do nothing;
        if chaos.pick(seed, 3, 2) = 0 then truncate cleared, cleared_too; else truncate cleared cascade; end if;
    elsif chaos.pick(seed, 2, 3) = 1 then
        truncate cleared_too;
    end if;
    insert into cleared select first + i, chaos.odd(seed, i) from generate_series(1, 20) i on conflict do nothing;
    insert into cleared_too select first + i, first + i, chaos.odd(seed, i) from generate_series(1, 10) i
        on conflict do nothing;
    return 30;
end $$;

-- Rows that walk from one partition to another.
create function chaos.part(worker int, seed bigint) returns int language plpgsql as $$
declare n int := 0; c int; first bigint := chaos.pick(seed, 1, 400);
begin
    insert into parts select (first + i) * 8 + worker, 1 + (i % 2), chaos.odd(seed, i) from generate_series(1, 8) i
        on conflict (id, region) do update set t = excluded.t;
    get diagnostics c = row_count; n := n + c;
    update parts p set region = 3 - region where region in (1, 2) and id % 8 = worker
        and id between first * 8 and (first + 4) * 8
        and not exists (select from parts o where o.id = p.id and o.region = 3 - p.region);
    get diagnostics c = row_count; n := n + c;
    delete from parts where id % 8 = worker and id between (first - 2) * 8 and (first - 1) * 8;
    get diagnostics c = row_count;
    insert into reborn (id, t) select first * 8 + worker, chaos.odd(seed, 1) on conflict (id) do update set t = excluded.t;
    return n + c + 1;
end $$;

-- A partition comes, empty and with its columns in another order, is filled, emptied, and goes.
create function chaos.partition_comes(region int) returns void language plpgsql as $$
begin
    execute format('create table parts_%s (t text, region int not null, id bigint not null)', region);
    execute format('alter table parts attach partition parts_%s for values in (%s)', region, region);
    execute format('insert into parts select i, %s, ''new leaf'' from generate_series(1, 20) i', region);
end $$;

create function chaos.partition_goes(gone int) returns void language plpgsql as $$
begin
    delete from parts where region = gone;
    execute format('alter table parts detach partition parts_%s', gone);
    execute format('drop table parts_%s', gone);
end $$;

create function chaos.rebirth(seed bigint) returns void language plpgsql as $$
begin
    drop table reborn;
    execute 'create table reborn (id bigint primary key, '
        || case when chaos.pick(seed, 1, 2) = 0 then 'extra int default 5, ' else '' end || 't text)';
    grant select on reborn to groundwork;
    alter publication groundwork add table reborn;
    insert into reborn (id, t) select -i, 'born again' from generate_series(1, 20) i;
end $$;
