# ruff: noqa: E501 (SQL and YAML read better in one line)
"""A platform of two tables, one endpoint and two models: as little as all kinds of trouble need."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.commands import PROJECT

SHOP = """
source: shop
kind: postgres
priority: 1
questions: ["How much do we take per day?"]
requested_by: [Management (daily)]
owner: {name: Shop team, email: shop-team@example.org}
format: tables of PostgreSQL
history: from the first snapshot on
update_every: 1 day
connection: {url: {secret: shop-database-url}, publication: groundwork}
streams:
  orders:
    table: public.orders
    replication: log_based
    primary_key: [id]
    columns: {id: {type: integer}, total: {type: "decimal(14,2)"}}
  items:
    table: public.items
    replication: log_based
    primary_key: [id]
    columns: {id: {type: integer}, name: {type: text, pii: true}}
"""

PAYMENTS = """
source: payments
kind: rest
priority: 2
questions: ["Does what was paid agree with what was ordered?"]
requested_by: [Finance (monthly)]
owner: {name: Finance systems, email: finance@example.org}
format: JSON over HTTP
history: everything
update_every: 1 day
connection: {base_url: {variable: payments-url}}
streams:
  payments:
    endpoint: /payments
    replication: full_table
    primary_key: [id]
    records: data
    columns: {id: {type: integer}, amount: {type: integer}}
"""

DBT = {
    "dbt_project.yml": "{name: groundwork, version: '1.0', profile: groundwork}",
    "profiles.yml": """
groundwork:
  target: duckdb
  outputs: {duckdb: {type: duckdb, path: "{{ env_var('GROUNDWORK_DUCKDB_PATH') }}", threads: 1}}
""",
    "models/sources.yml": """
sources: [{name: shop, schema: landing, tables: [{name: orders, identifier: shop__orders}]}]
exposures: [{name: closing, label: Monthly closing, type: dashboard, owner: {name: Finance}, depends_on: [ref('takings')]}]
""",
    "models/visualization/takings.sql": "select cast(total as decimal(14, 2)) as total from {{ source('shop', 'orders') }}",
    "tests/takings_are_not_negative.sql": "select total from {{ ref('takings') }} where total < 0",
}


class _Payments(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": n, "amount": n} for n in range(100)]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def small_platform(directory: Path, database_url: str) -> dict[str, str]:
    """Write catalog and dbt project, start the endpoint; the environment of it all."""
    catalog, dbt, secrets = directory / "catalog", directory / "dbt", directory / "secrets"
    for place in (catalog, secrets):
        place.mkdir()
    (catalog / "shop.yml").write_text(SHOP)
    (catalog / "payments.yml").write_text(PAYMENTS)
    ops = (PROJECT / "catalog" / "ops.yml").read_text(encoding="utf-8")
    (catalog / "ops.yml").write_text(ops.replace("update_every: 5 minutes", "update_every: 1 day"))
    for name, text in DBT.items():
        (dbt / name).parent.mkdir(parents=True, exist_ok=True)
        (dbt / name).write_text(text)
    (secrets / "shop-database-url").write_text(database_url)
    endpoint = ThreadingHTTPServer(("127.0.0.1", 0), _Payments)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    return {
        "GROUNDWORK_HOME": str(directory / "home"),
        "GROUNDWORK_CATALOG": str(catalog),
        "GROUNDWORK_DBT": str(dbt),
        "GROUNDWORK_WAREHOUSE": "duckdb",
        "GROUNDWORK_SECRETS_DIR": str(secrets),
        "PAYMENTS_URL": f"http://127.0.0.1:{endpoint.server_port}",
    }
