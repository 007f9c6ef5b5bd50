"""A small dbt project with contracts and a dashboard, to be changed by tests."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "dbt_project.yml": """
name: groundwork
version: "1.0"
profile: groundwork
models:
  groundwork:
    visualization: {+schema: visualization, +materialized: table, +contract: {enforced: true}}
    staging: {+schema: staging, +contract: {enforced: true}}
""",
    "profiles.yml": """
groundwork:
  target: duckdb
  outputs: {duckdb: {type: duckdb, path: "{{ env_var('GROUNDWORK_DUCKDB_PATH', ':memory:') }}", threads: 1}}
""",
    "macros/generate_schema_name.sql": """
{% macro generate_schema_name(custom_schema_name, node) -%}{{ custom_schema_name }}{%- endmacro %}
""",
    "models/staging/base_orders.sql": "select 1 as id, cast(2 as decimal(18, 2)) as amount",
    "models/visualization/orders.sql": "select id, amount, 'new' as status from {{ ref('base_orders') }}",
    "models/visualization/totals.sql": "select sum(amount) as total from {{ ref('orders') }}",
    "models/models.yml": """
models:
  - name: base_orders
    columns:
      - {name: id, data_type: integer}
      - {name: amount, data_type: "decimal(18,2)"}
  - name: orders
    columns:
      - {name: id, data_type: integer}
      - {name: amount, data_type: "decimal(18,2)"}
      - {name: status, data_type: varchar}
  - name: totals
    columns: [{name: total, data_type: "decimal(38,2)"}]
exposures:
  - name: revenue
    label: Revenue by day
    type: dashboard
    owner: {name: Finance, email: finance@example.com}
    depends_on: [ref('totals')]
""",
}


class Project:
    """The project in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        path = self.directory / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
