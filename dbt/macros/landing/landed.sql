{#- Rows of a landing table as the base models read them: key columns typed (what does not fit is no key),
    all others still text, then the metadata. Streams of records have a `path` on each column: into the record, or
    into the column that `of` names. `narrow` leaves out what is neither key nor metadata. -#}
{% macro landed(landing, key, columns, where, narrow=false) -%}
    {%- set wanted = [] -%}
    {%- for column in columns if column.name in key or not narrow -%}{%- do wanted.append(column) -%}{%- endfor -%}
    {%- if columns[0].path is defined -%}
        {{ return(adapter.dispatch('landed_records')(landing, key, wanted, where)) }}
    {%- endif %}
    select
        {%- for column in wanted %}
        {% set text = 'landing_row.' ~ column_name(column.name) -%}
        {{ typed(text, column.type) if column.name in key else text }} as {{ column_name(column.name) }},
        {%- endfor %}
        {{ columns_of('landing_row', metadata_columns()) }}
    from {{ landing }} as landing_row
    where {{ where }}
{%- endmacro %}

{#- DuckDB: one parse per record for all strings and numbers, one more if there are json columns. A record that is
    no JSON gives nulls, hence no key: the test `keys_fit` tells. -#}
{% macro default__landed_records(landing, key, columns, where) -%}
    {%- set own = columns | rejectattr('of', 'defined') | list -%}
    {%- set others = columns | selectattr('of', 'defined') | list -%}
    {%- set texts = own | rejectattr('type', 'equalto', 'json') | list -%}
    {%- set jsons = own | selectattr('type', 'equalto', 'json') | list %}
    select
        {%- for column in others %}
        {% set text = json_text(column_name(column.of), column.path) -%}
        {{ typed(text, column.type) if column.name in key else text }} as {{ column_name(column.name) }},
        {%- endfor %}
        {%- for column in texts %}
        {% set text = '_texts[' ~ loop.index ~ ']' -%}
        {{ typed(text, column.type) if column.name in key else text }} as {{ column_name(column.name) }},
        {%- endfor %}
        {%- for column in jsons %}
        nullif(cast(_jsons[{{ loop.index }}] as varchar), 'null') as {{ column_name(column.name) }},
        {%- endfor %}
        {{ columns_of('', metadata_columns()) }}
    from (
        select
            try(json_extract_string({{ numbers_as_strings('landing_row.record') }}, [
                {%- for column in texts %}{{ json_path(column.path) }}{{ ', ' if not loop.last }}{% endfor -%}
            ])) as _texts,
            {%- if jsons %}
            try(json_extract(landing_row.record, [
                {%- for column in jsons %}{{ json_path(column.path) }}{{ ', ' if not loop.last }}{% endfor -%}
            ])) as _jsons,
            {%- endif %}
            {%- for name in others | map(attribute='of') | unique %}
            landing_row.{{ column_name(name) }},
            {%- endfor %}
            {{ columns_of('landing_row', metadata_columns()) }}
        from (
            select landing_row.* replace ({{ readable_record('landing_row.record') }} as record)
            from {{ landing }} as landing_row
            where {{ where }}
        ) as landing_row
    ) as read_records
{%- endmacro %}

{% macro snowflake__landed_records(landing, key, columns, where) %}
    {%- set others = columns | selectattr('of', 'defined') | list %}
    select
        {%- for column in columns %}
        {% set text = json_text(column_name(column.of), column.path) if column.of is defined
            else "nullif(to_json(" ~ json_value('_json', column.path) ~ "), 'null')" if column.type == 'json'
            else 'cast(' ~ json_value('_record', column.path) ~ ' as varchar)' -%}
        {{ typed(text, column.type) if column.name in key else text }} as {{ column_name(column.name) }},
        {%- endfor %}
        {{ columns_of('', metadata_columns()) }}
    from (
        select
            try_parse_json({{ numbers_as_strings(readable_record('landing_row.record')) }}) as _record,
            {%- if columns | selectattr('type', 'equalto', 'json') | list %}
            try_parse_json({{ readable_record('landing_row.record') }}) as _json,
            {%- endif %}
            {%- for name in others | map(attribute='of') | unique %}
            landing_row.{{ column_name(name) }},
            {%- endfor %}
            {{ columns_of('landing_row', metadata_columns()) }}
        from {{ landing }} as landing_row
            where {{ where }}
    ) as read_records
{%- endmacro %}

{#- JSON readers take numbers for numbers: DuckDB's turns 12345678901234567890.12 into 12345678901234567000.0 and
    123.40 into 123.4, Snowflake's does the like. So records with a number they would not repeat letter for letter get
    their numbers quoted first: strings are matched whole and kept, numbers are put between two marks, and marks
    (U+0001, which no JSON text can hold) become quotes. Records without such a number are left alone: that is eight
    times cheaper. -#}
{% macro numbers_as_strings(text) -%}
    {{ return(adapter.dispatch('numbers_as_strings')(text)) }}
{%- endmacro %}

{% macro default__numbers_as_strings(text) -%}
    case
        when regexp_matches({{ text }}, '[:,\[]\s*-?([0-9.]{16}|[0-9]+\.[0-9]*0[^0-9]|[0-9.]+[eE])')
            then replace(replace(
                regexp_replace(
                    {{ text }}, '("(?:[^"\\]|\\.)*")|(-?[0-9][0-9.eE+-]*)', '\1' || chr(1) || '\2' || chr(1), 'g'
                ),
                chr(1) || chr(1), ''
            ), chr(1), '"')
        else {{ text }}
    end
{%- endmacro %}

{#- The same; between dollar signs a backslash is a backslash, and there are no groups that do not count. -#}
{% macro snowflake__numbers_as_strings(text) -%}
    case
        when regexp_like({{ text }}, $$.*[:,\[]\s*-?([0-9.]{16}|[0-9]+\.[0-9]*0[^0-9]|[0-9.]+[eE]).*$$, 's')
            then replace(replace(
                regexp_replace(
                    {{ text }}, $$("([^"\\]|\\.)*")|(-?[0-9][0-9.eE+-]*)$$, $$\1$$ || chr(1) || $$\3$$ || chr(1)
                ),
                chr(1) || chr(1), ''
            ), chr(1), '"')
        else {{ text }}
    end
{%- endmacro %}
