{#- The rows of a table without a key: every row that was inserted is a record of its own, known by its place in the
    bucket (`_file`, `_row`). Under REPLICA IDENTITY FULL an update arrives as a delete of the old row and an insert of
    the new one, and a delete names the whole row: it takes away one row that is equal to it, the oldest (equal rows
    cannot be told apart, not by PostgreSQL either). -#}
{% macro keyless_records(landing, columns) -%}
{%- set names = columns | map(attribute='name') | list -%}
{%- set place = ['_file', '_row'] -%}
{%- set incremental = is_incremental() and not lacks_a_column(this, names) and not built_by_another_key() -%}
{%- set record = "landing_row._operation not in ('delete', 'truncate')" -%}
{%- set seen = seen_by(this, landing) if incremental %}
with truncated as (
    -- whatever stands before this place in the source's order is gone
    select max(_sequence) as _sequence from {{ landing }} where _operation = 'truncate'
),

deleted as (
    select {{ columns_of('rows_out', names + ['_sequence', '_batch_id', '_loaded_at']) }}
    from ({{ landed(landing, [], columns, "landing_row._operation = 'delete'") }}) as rows_out
),

deletions as (
    select {{ columns_of('deleted', names) }}, count(*) as _pieces
    from deleted
    cross join truncated
    where truncated._sequence is null or deleted._sequence >= truncated._sequence
    group by {{ columns_of('deleted', names) }}
),

{% if incremental -%}
fresh as (
    {{ landed(landing, [], columns, "landing_row._operation <> 'truncate' and " ~ is_fresh(seen)) }}
),

fresh_truncates as (
    select count(*) as _pieces from {{ landing }} as landing_row
    where landing_row._operation = 'truncate' and {{ is_fresh(seen) }}
),

-- rows whose equals were deleted at some time: their count is taken again when one of them comes or goes
recounted as (
    select distinct {{ columns_of('deleted', names) }}
    from deleted
    cross join fresh_truncates
    left join fresh on {{ same('deleted', 'fresh', names, nulls_are_equal=true) }}
    where fresh._file is not null or fresh_truncates._pieces > 0
),

equals as (
    select {{ columns_of('rows_in', names + metadata_columns()) }}
    from ({{ landed(landing, [], columns, record) }}) as rows_in
    inner join recounted on {{ same('rows_in', 'recounted', names, nulls_are_equal=true) }}
),
{%- else -%}
equals as (
    select {{ columns_of('rows_in', names + metadata_columns()) }}
    from ({{ landed(landing, [], columns, record) }}) as rows_in
    inner join deletions on {{ same('rows_in', 'deletions', names, nulls_are_equal=true) }}
),
{%- endif %}

counted as (
    select
        {{ columns_of('equals', names + metadata_columns()) }},
        row_number() over (
            partition by {{ columns_of('equals', names) }}
            order by
                case when equals._sequence < truncated._sequence then 1 else 0 end,
                equals._sequence, equals._batch_id, equals._file, equals._row
        ) as _age
    from equals
    cross join truncated
),

versions as (
    select
        {{ columns_of('counted', names + metadata_columns()) }},
        case when counted._age <= coalesce(deletions._pieces, 0) then 'delete' else counted._operation end as _fate
    from counted
    left join deletions on {{ same('counted', 'deletions', names, nulls_are_equal=true) }}
    union all
    select {{ columns_of('lone', names + metadata_columns()) }}, lone._operation as _fate
    {% if incremental -%}
    from fresh as lone
    left join equals on lone._file = equals._file and lone._row = equals._row
    where lone._operation <> 'delete' and equals._file is null
    {%- else -%}
    from ({{ landed(landing, [], columns, record) }}) as lone
    left join equals on lone._file = equals._file and lone._row = equals._row
    where equals._file is null
    {%- endif %}
)

{{ as_base('versions', [], columns, operation='_fate') }}
{%- if incremental and seen.truncated %}

union all

{{ swept_away(this, 'versions', place, names, seen) }}
{%- endif %}
{%- endmacro %}
