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

{#- DuckDB: one parse per record for all texts, one more if there are json columns. A record that is no JSON gives
    nulls, hence no key: the test `keys_fit` tells. -#}
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
        nullif(_jsons[{{ loop.index }}], 'null') as {{ column_name(column.name) }},
        {%- endfor %}
        {{ columns_of('', metadata_columns()) }}
    from (
        select
            {%- if texts %}
            case when _marked then list_transform(_texts, lambda one: {{ text_of_marked('one') }}) else _texts end as _texts,
            {%- endif %}
            {%- if jsons %}
            case when _marked then list_transform(_jsons, lambda one: {{ json_of_marked('one') }}) else _jsons end as _jsons,
            {%- endif %}
            {%- for name in others | map(attribute='of') | unique %}
            {{ column_name(name) }},
            {%- endfor %}
            {{ columns_of('', metadata_columns()) }}
        from (
            select
                {%- if texts %}
                try(json_extract_string(_record, [
                    {%- for column in texts %}{{ json_path(column.path) }}{{ ', ' if not loop.last }}{% endfor -%}
                ])) as _texts,
                {%- endif %}
                {%- if jsons %}
                try(cast(json_extract(_record, [
                    {%- for column in jsons %}{{ json_path(column.path) }}{{ ', ' if not loop.last }}{% endfor -%}
                ]) as varchar[])) as _jsons,
                {%- endif %}
                marked_row.*
            from (
                select
                    {{ has_rewritten_numbers('readable_row.record') }} as _marked,
                    case when _marked then {{ with_marks('readable_row.record') }} else readable_row.record end as _record,
                    readable_row.*
                from (
                    select landing_row.* replace ({{ readable_record('landing_row.record') }} as record)
                    from {{ landing }} as landing_row
                    where {{ where }}
                ) as readable_row
            ) as marked_row
        ) as read_row
    ) as read_records
{%- endmacro %}

{% macro snowflake__landed_records(landing, key, columns, where) %}
    {%- set others = columns | selectattr('of', 'defined') | list %}
    select
        {%- for column in columns %}
        {% set plain = 'to_json(' ~ json_value('_record', column.path) ~ ')' if column.type == 'json'
            else 'cast(' ~ json_value('_record', column.path) ~ ' as varchar)' -%}
        {%- set read = json_of_marked(plain) if column.type == 'json' else text_of_marked(plain) -%}
        {%- set text = json_text(column_name(column.of), column.path) if column.of is defined
            else 'case when _marked then ' ~ read ~ ' else ' ~ plain ~ ' end' -%}
        {%- set text = "nullif(" ~ text ~ ", 'null')" if column.type == 'json' else text -%}
        {{ typed(text, column.type) if column.name in key else text }} as {{ column_name(column.name) }},
        {%- endfor %}
        {{ columns_of('', metadata_columns()) }}
    from (
        select
            marked_row._marked,
            try_parse_json(
                case when marked_row._marked then {{ with_marks('marked_row.record') }} else marked_row.record end
            ) as _record,
            {%- for name in others | map(attribute='of') | unique %}
            marked_row.{{ column_name(name) }},
            {%- endfor %}
            {{ columns_of('marked_row', metadata_columns()) }}
        from (
            select
                readable_row.record,
                {{ has_rewritten_numbers('readable_row.record') }} as _marked,
                {%- for name in others | map(attribute='of') | unique %}
                readable_row.{{ column_name(name) }},
                {%- endfor %}
                {{ columns_of('readable_row', metadata_columns()) }}
            from (
                select
                    {{ readable_record('landing_row.record') }} as record,
                    {%- for name in others | map(attribute='of') | unique %}
                    landing_row.{{ column_name(name) }},
                    {%- endfor %}
                    {{ columns_of('landing_row', metadata_columns()) }}
                from {{ landing }} as landing_row
                where {{ where }}
            ) as readable_row
        ) as marked_row
    ) as read_records
{%- endmacro %}
