-- As many rows are in landing as the ledger says were loaded, batch by batch.
{%- set tables = [] -%}
{%- if execute -%}
    {%- for node in graph.sources.values() | sort(attribute='unique_id') if node.source_name != 'ledger' and node.schema == var('landing_schema') -%}
        {%- do tables.append(node) -%}
    {%- endfor -%}
{%- endif %}
with landed as (
    {% for node in tables -%}
    {{ 'union all' if not loop.first }}
    select
        '{{ node.source_name }}' as source_name,
        _batch_id as batch_id,
        count(*) as row_count
    from {{ node.relation_name }}
    group by _batch_id
    {% else -%}
    select
        cast(null as {{ dbt.type_string() }}) as source_name,
        cast(null as {{ dbt.type_string() }}) as batch_id,
        0 as row_count
    {% endfor -%}
),

counted as (
    select
        source_name,
        batch_id,
        sum(row_count) as row_count
    from landed
    where batch_id is not null
    group by source_name, batch_id
)

select
    coalesce(ledger.source_name, counted.source_name) as source_name,
    coalesce(ledger.batch_id, counted.batch_id) as batch_id,
    ledger.row_count as ledger_rows,
    counted.row_count as landed_rows
from {{ ref('stg_ledger__batches') }} as ledger
full outer join counted on ledger.source_name = counted.source_name and ledger.batch_id = counted.batch_id
where coalesce(ledger.row_count, -1) <> coalesce(counted.row_count, case when ledger.row_count = 0 then 0 else -1 end)
