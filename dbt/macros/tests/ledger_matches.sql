{#- As many rows are in landing as the ledger says were loaded, batch by batch, over all streams of one source. -#}
{% test ledger_matches(model, source_name) %}
{%- set tables = [] -%}
{%- if execute -%}
    {%- for node in graph.sources.values() if node.source_name == source_name -%}{%- do tables.append(node) -%}{%- endfor -%}
{%- endif %}
with landed as (
    {% for node in tables -%}
    {{ 'union all' if not loop.first }}
    select _batch_id from {{ source(node.source_name, node.name) }}
    {% else -%}
    select cast(null as {{ dbt.type_string() }}) as _batch_id
    {% endfor %}
),

counted as (
    select _batch_id, count(*) as landed_rows from landed group by _batch_id
)

select ledger.batch_id, ledger.rows as ledger_rows, counted.landed_rows
from {{ model }} as ledger
full join counted on ledger.batch_id = counted._batch_id
where ledger.source = '{{ source_name }}' and coalesce(ledger.rows, 0) <> coalesce(counted.landed_rows, 0)
{% endtest %}
