"""What the demo shows at its end, all of it asked of the warehouse."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from groundwork.lineage import explain
from groundwork.settings import Settings
from groundwork.warehouses import Warehouse, open_warehouse

LAYERS = ("landing", "staging", "visualization")
_WIDTH, _SHOWN = 108, 3
"""Letters in a line of a mail, and items of a list."""

QUESTIONS = {
    "How much do we take per day and country, in which currency?": (
        "select cast(day as varchar), country_name, order_count, revenue_amount, currency"
        " from visualization.revenue_daily where day < current_date"
        " order by day desc, revenue_amount desc limit 3",
        ("day", "country", "orders", "revenue", ""),
    ),
    "Does what the provider paid us agree with what the shop says was paid?": (
        "select mismatch_kind, count(*), sum(total_amount), sum(charged_amount)"
        " from visualization.payment_mismatches group by 1 order by 2 desc limit 4",
        ("kind of mismatch", "orders", "shop says", "provider says"),
    ),
    "Which products sell, with what margin, and which come back?": (
        "select product_name, sold_quantity, margin_amount, currency, returned_quantity"
        " from visualization.product_performance where currency = 'EUR' order by sold_amount desc limit 3",
        ("product", "sold", "margin", "", "came back"),
    ),
}


def show(home: Path, mails: Sequence[EmailMessage], since: datetime) -> None:
    """Print what was captured, rows per layer, three answers, one row's way back, and the mails.

    Args:
        home: where the demo keeps its data.
        mails: what the failure called.
        since: when this run of the demo began, UTC.
    """
    with open_warehouse(Settings(), who="report", read_only=True) as warehouse:
        _print_captured(warehouse, since)
        _print_rows_per_layer(warehouse)
        for question, (sql, header) in QUESTIONS.items():
            print(f"\n{question}")
            _print_table(header, warehouse.query(sql))
        _print_way_back(warehouse)
    _print_mails(mails, home)


def _print_captured(warehouse: Warehouse, since: datetime) -> None:
    found = warehouse.query(
        "select source, operations, epoch(stored_at - started_at) from landing._batches"
        " where started_at >= ?",
        [since.replace(tzinfo=None)],
    )
    kinds: dict[str, Counter[str]] = {}
    seconds: Counter[str] = Counter()
    for source, operations, took in found:
        kinds.setdefault(source, Counter()).update(json.loads(operations))
        seconds[source] += took
    print("\nCaptured in this run")
    for source, counts in sorted(kinds.items()):
        told = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
        print(f"  {source:<9} {counts.total():>8,} rows in {seconds[source]:.1f} s ({told})")


def _print_rows_per_layer(warehouse: Warehouse) -> None:
    rows: dict[str, dict[str, int]] = {}
    found = warehouse.query(
        "select table_schema, table_name from information_schema.tables where table_schema in (?, ?, ?)"
        " and table_name not like '\\_%' escape '\\' and table_name not like 'stg%'",
        LAYERS,
    )
    for layer, table in found:
        ((count,),) = warehouse.query(f"select count(*) from {layer}.{warehouse.quoted(table)}")
        of = re.sub(r"^base_", "", table).split("__")[0] if layer != "visualization" else "all sources"
        rows.setdefault(of, {})[layer] = rows.setdefault(of, {}).get(layer, 0) + count
    print("\nRows per source and layer")
    order = sorted(rows, key=lambda of: (of == "all sources", of))
    _print_table(
        ("", "landing (every load)", "staging (newest)", "visualization"),
        [(of, *(rows[of].get(layer) for layer in LAYERS)) for of in order],
    )


def _print_way_back(warehouse: Warehouse) -> None:
    """Follow the newest order that changed since the snapshot, or any, back to where it came from."""
    ((order,),) = warehouse.query(
        "select order_id from visualization.orders order by _committed_at desc nulls last, order_id limit 1"
    )
    lineage = explain(warehouse, "visualization.orders", "order_id", order)
    shown = {n: lineage.row[n] for n in ("order_status", "total_amount", "currency")}
    print(f"\nWhere does order {order} come from ({', '.join(str(v) for v in shown.values())})?")
    for told, at in lineage.times.items():
        print(f"  {told:<24}{at if at is not None else 'in the snapshot'}")
    print(f"  {'object, row':<24}{lineage.place['_file']}, {lineage.place['_row']}")
    print(f"  {'flow run':<24}{lineage.place['_run_id']}")
    for at, level, message in lineage.log_lines[:4]:
        print(f"    {at:%H:%M:%S} {level:<5} {message}")


def _print_mails(mails: Sequence[EmailMessage], home: Path) -> None:
    print(f"\nThe mail that a wrong password called ({home}/services/mailbox/mails)")
    for mail in mails:
        body = mail.get_body(("plain",))
        lines = body.get_content().strip().splitlines() if body else []
        print(f"  ┌ To: {mail['To']}\n  │ Subject: {mail['Subject']}\n  │")
        for line in _shortened(lines):
            print(f"  │ {line}".rstrip())
        print("  └")


def _shortened(lines: Sequence[str]) -> Iterator[str]:
    """The mail's lines as a terminal has room for them: three of each list, and none too long."""
    items = 0
    for line in lines:
        items = items + 1 if line.startswith("  ") else 0
        if not items:
            yield from textwrap.wrap(line, _WIDTH, subsequent_indent=" " * 11) or [""]
        elif items <= _SHOWN:
            yield line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
        elif items == _SHOWN + 1:
            yield "  …"


def _print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    texts = [[_text(value) for value in row] for row in rows]
    numeric = [
        all(isinstance(row[i], int | float) or "." in texts[n][i] for n, row in enumerate(rows))
        for i in range(len(header))
    ]
    widths = [max(len(h), *(len(t[i]) for t in texts)) if texts else len(h) for i, h in enumerate(header)]
    for line in (list(header), *texts):
        cells = [f"{c:>{w}}" if n else f"{c:<{w}}" for c, w, n in zip(line, widths, numeric, strict=True)]
        print("  " + "  ".join(cells).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.2f}" if hasattr(value, "as_tuple") or isinstance(value, float) else str(value)
