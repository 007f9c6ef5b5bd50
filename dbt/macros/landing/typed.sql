{#- A text as a value of a catalog type, null when it does not fit whole. Stricter than try_cast, which rounds
    12.5 to 13 for an integer, cuts 1.239 to decimal(5,2), drops the time from a date, reads 0x10 and infinity. -#}
{% macro typed(text, type) -%}
    {%- if type == 'integer' -%}
        case
            when {{ full_match(text, '[+-]?[0-9]+([.]0*)?') }} then try_cast({{ text }} as bigint)
            when {{ full_match(text, exponent_pattern()) }}
                and cast(try_cast({{ text }} as bigint) as double) = try_cast({{ text }} as double)
                then try_cast({{ text }} as bigint)
        end
    {%- elif type.startswith('decimal') -%}
        {%- set scale = type.split(',')[1].rstrip(')') -%}
        case
            when {{ full_match(text, '[+-]?[0-9]+([.][0-9]{0,' ~ scale ~ '}0*)?') }} then try_cast({{ text }} as {{ type }})
            when {{ full_match(text, exponent_pattern()) }}
                and cast(try_cast({{ text }} as {{ type }}) as double) = try_cast({{ text }} as double)
                then try_cast({{ text }} as {{ type }})
        end
    {%- elif type == 'float' -%}
        case
            when abs(try_cast({{ text }} as double)) <> cast('inf' as double) or contains({{ text }}, 'Infinity')
                then try_cast({{ text }} as double)
        end
    {%- elif type == 'boolean' -%}
        case when {{ text }} in ('t', 'true') then true when {{ text }} in ('f', 'false') then false end
    {%- elif type == 'date' -%}
        case when {{ full_match(text, '[0-9]{4}-[0-9]{2}-[0-9]{2}') }} then try_cast({{ text }} as date) end
    {%- elif type == 'timestamp' -%}
        case
            when {{ full_match(text, '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+ ?(Z|[+-][0-9:]+)?)?') }}
                then {{ utc_timestamp(text) }}
        end
    {%- elif type in ['text', 'json'] -%}
        {{ text }}
    {%- else -%}
        {{ exceptions.raise_compiler_error("typed(): '" ~ type ~ "' is not a type of the catalog") }}
    {%- endif -%}
{%- endmacro %}

{#- 1E+2, 1.5e3: rare, but JSON allows them. -#}
{% macro exponent_pattern() -%}
    {{ return('[+-]?[0-9.]+[eE][+-]?[0-9]+') }}
{%- endmacro %}

{#- JSON array of the names of columns whose text is there but did not fit its type; null if none. -#}
{% macro cast_failures(columns, key) -%}
    {%- set checked = [] -%}
    {%- for column in columns if column.name not in key and column.type not in ['text', 'json'] -%}
        {%- set text = column_name(column.name) -%}
        {%- do checked.append({
            'json': tojson(column.name),
            'failed': text ~ ' is not null and ' ~ typed(text, column.type) ~ ' is null',
        }) -%}
    {%- endfor -%}
    {%- if not checked -%}
        cast(null as {{ dbt.type_string() }})
    {%- else -%}
        case
            when {% for column in checked %}{{ 'or ' if not loop.first }}({{ column.failed }}){% endfor %}
                then '['
                    {%- if checked | length == 1 %} || {{ literal(checked[0].json) }}
                    {%- else %} || substr(
                        {% for column in checked -%}
                        {{ '|| ' if not loop.first }}case when {{ column.failed }} then {{ literal(',' ~ column.json) }} else '' end
                        {% endfor -%}
                    , 2)
                    {%- endif %} || ']'
        end
    {%- endif -%}
{%- endmacro %}
