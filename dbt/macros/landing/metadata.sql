{#- What every landing row says of itself, and base hands on; models/staging/_columns.md tells what each means. -#}
{% macro metadata_columns() -%}
    {{ return([
        '_operation', '_sequence', '_unchanged', '_committed_at', '_extracted_at', '_stored_at', '_loaded_at',
        '_batch_id', '_file', '_row', '_run_id',
    ]) }}
{%- endmacro %}

{#- The order of the source, newest first: its own sequence; for rows that share one, the later batch, object, row. -#}
{% macro newest_first() -%}
    _sequence desc, _batch_id desc, _file desc, _row desc
{%- endmacro %}

{#- Whether row `a` stands at or after row `b` in that order (row comparison, spelled out: Snowflake has no other). -#}
{% macro stands_at_or_after(a, b) -%}
    {{ a }}._sequence > {{ b }}._sequence
    or ({{ a }}._sequence = {{ b }}._sequence and (
        {{ a }}._batch_id > {{ b }}._batch_id
        or ({{ a }}._batch_id = {{ b }}._batch_id and (
            {{ a }}._file > {{ b }}._file
            or ({{ a }}._file = {{ b }}._file and {{ a }}._row >= {{ b }}._row)
        ))
    ))
{%- endmacro %}

{#- Columns by name, with a table in front of each. -#}
{% macro columns_of(table, names) -%}
    {%- for name in names -%}
        {{ table ~ '.' if table }}{{ column_name(name) }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Equality of two tables' rows on some columns; nulls are equal when asked. -#}
{% macro same(a, b, names, nulls_are_equal=false) -%}
    {%- set equals = ' is not distinct from ' if nulls_are_equal else ' = ' -%}
    {%- for name in names -%}
        {{ a }}.{{ column_name(name) }}{{ equals }}{{ b }}.{{ column_name(name) }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
