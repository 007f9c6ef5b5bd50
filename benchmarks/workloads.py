"""The two tables that everything is measured with, and a million changes to each.

``accounts`` is pgbench's: four columns, narrow. ``orders`` has twelve columns of eleven types. The changes
are the same for both: 50,000 transactions of ten changes each, and one of 500,000. All by arithmetic, so
every machine makes the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent

PUBLICATION = "groundwork"
CHANGES = 1_000_000
"""Changes of a workload at scale 1."""


@dataclass(frozen=True)
class Workload:
    """A table and how it is filled and changed. In SQL, ``n`` is the number of a row."""

    name: str
    table: str
    key: str
    columns: dict[str, str]
    """Names and the catalog's types."""
    definition: str
    row: str
    """Select list that makes row ``n``."""
    update: str
    visualization: str
    """A small model over the base model."""

    def create(self) -> str:
        """SQL: the empty table, published."""
        return dedent(f"""
            create table {self.table} ({self.definition});
            create publication {PUBLICATION} for table {self.table};
        """)

    def fill(self, first: int, last: int) -> str:
        """SQL: rows ``first`` to ``last``."""
        return f"insert into {self.table} select {self.row} from generate_series({first}, {last}) as n"

    def procedure(self) -> str:
        """SQL: procedure ``small_transactions``; each transaction updates 5, inserts 3, deletes 2 rows."""
        some = ", ".join(f"place + fifth * {i}" for i in range(5))
        return dedent(f"""
            create procedure small_transactions(transactions integer, row_count integer)
            language plpgsql as $$
            declare
                kept integer := row_count / 10 * 8;
                fifth integer := kept / 5;
                place integer;
            begin
                for t in 0 .. transactions - 1 loop
                    place := 1 + t::bigint * 7919 % fifth;
                    update {self.table} set {self.update} where {self.key} in ({some});
                    insert into {self.table} select {self.row}
                    from generate_series(row_count + 3 * t + 1, row_count + 3 * t + 3) as n;
                    delete from {self.table} where {self.key} in (kept + 2 * t + 1, kept + 2 * t + 2);
                    commit;
                end loop;
            end $$
        """)

    def one_large_transaction(self, rows: int) -> str:
        """SQL: update 30 %, insert 15 %, delete 5 % of ``rows`` in one transaction."""
        first = rows // 10 * 9
        made = rows + 3 * (rows // 20)
        return dedent(f"""
            begin;
            update {self.table} set {self.update} where {self.key} <= {rows // 10 * 3};
            {self.fill(made + 1, made + rows // 20 * 3)};
            delete from {self.table} where {self.key} > {first} and {self.key} <= {first + rows // 20};
            commit;
        """)


ACCOUNTS = Workload(
    name="accounts",
    table="pgbench_accounts",
    key="aid",
    columns={"aid": "integer", "bid": "integer", "abalance": "integer", "filler": "text"},
    definition="aid integer primary key, bid integer, abalance integer, filler char(84)",
    row="n, (n - 1) / 100000 + 1, 0, ''",
    update="abalance = abalance + 17",
    visualization="""
select
    bid as branch_id,
    count(*) as accounts,
    cast(sum(abalance) as bigint) as balance
from {{ ref('base_accounts__accounts') }}
where _operation not in ('delete', 'truncate')
group by bid
""",
)

ORDERS = Workload(
    name="orders",
    table="orders",
    key="id",
    columns={
        "id": "integer",
        "customer_id": "integer",
        "amount": "decimal(12,2)",
        "status": "text",
        "note": "text",
        "placed_at": "timestamp",
        "updated_at": "timestamp",
        "due_on": "date",
        "is_gift": "boolean",
        "attributes": "json",
        "reference": "text",
        "weight": "float",
    },
    definition="""
        id bigint primary key, customer_id integer not null, amount numeric(12,2) not null,
        status varchar(12) not null, note text, placed_at timestamptz not null,
        updated_at timestamptz not null, due_on date, is_gift boolean, attributes jsonb, reference uuid,
        weight double precision
    """,
    row="""
        n, n::bigint * 7919 % 100000, (n::bigint * 104729 % 9999999) / 100.0,
        (array['placed', 'paid', 'shipped', 'delivered', 'cancelled'])[1 + n % 5],
        case when n % 3 = 0 then 'leave it with the neighbour, entrance ' || n end,
        timestamptz '2025-01-01 00:00:00Z' + n * interval '1 second' + n % 1000000 * interval '1 microsecond',
        timestamptz '2025-02-01 00:00:00Z' + n * interval '1 second',
        date '2025-01-01' + n % 400, n % 7 = 0,
        jsonb_build_object('channel', 'web', 'items', n % 9, 'coupon', 'C' || n % 1000),
        md5(n::text)::uuid, n % 10000 / 7.0::double precision
    """,
    update="status = 'paid', amount = amount + 1, updated_at = updated_at + interval '90 seconds'",
    visualization="""
select
    cast(placed_at as date) as placed_on,
    status,
    count(*) as orders,
    cast(sum(amount) as decimal(18, 2)) as amount
from {{ ref('base_orders__orders') }}
where _operation not in ('delete', 'truncate')
group by 1, 2
""",
)


def operations(changes: int) -> dict[str, int]:
    """How many of a workload's changes create, update and delete a row (by Debezium's letters)."""
    part = changes // 20  # the large transaction has six, three and one such parts
    return {"c": (3 + 3) * part, "u": (5 + 6) * part, "d": (2 + 1) * part}


WORKLOADS = {workload.name: workload for workload in (ACCOUNTS, ORDERS)}


def catalog_entry(workload: Workload, *, slot: str = "", replication: str = "log_based") -> str:
    """The catalog's file for a workload; source and stream have its name."""
    columns = "\n".join(f'      {name}: {{type: "{kind}"}}' for name, kind in workload.columns.items())
    return f"""source: {workload.name}
kind: postgres
priority: 1
questions: ["What does it cost to keep up with a million changes?"]
requested_by: [The README]
owner: {{name: Benchmarks, email: benchmarks@example.com}}
format: PostgreSQL
history: everything
update_every: 1 day
connection:
  url: {{secret: bench-database-url}}
  publication: {PUBLICATION}
  slot: "{slot}"
streams:
  {workload.name}:
    table: public.{workload.table}
    replication: {replication}
    primary_key: [{workload.key}]
    columns:
{columns}
"""
