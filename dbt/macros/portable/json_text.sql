{#- One value out of a text that holds JSON: a string without its quotes, anything else as JSON, null if absent.
    path is a list of names. -#}
{% macro json_text(text, path) -%}
    {{ return(adapter.dispatch('json_text')(text, path)) }}
{%- endmacro %}

{% macro default__json_text(text, path) -%}
    try(json_extract_string({{ text }}, {{ json_path(path) }}))
{%- endmacro %}

{% macro snowflake__json_text(text, path) -%}
    cast({{ json_value('try_parse_json(' ~ text ~ ')', path) }} as varchar)
{%- endmacro %}

{#- DuckDB's path, as a literal. Every name is quoted; `*` is a wildcard even so, and an empty name no path at all,
    so these are written as a JSON pointer (RFC 6901). -#}
{% macro json_path(path) -%}
    {%- set parts = [] -%}
    {%- if '' in path or '*' in path | join -%}
        {%- for name in path -%}{%- do parts.append('/' ~ name | replace('~', '~0') | replace('/', '~1')) -%}{%- endfor -%}
    {%- else -%}
        {%- for name in path -%}
            {%- do parts.append('."' ~ name | replace('\\', '\\\\') | replace('"', '\\"') ~ '"') -%}
        {%- endfor -%}
        {%- do parts.insert(0, '$') -%}
    {%- endif -%}
    {{ return(literal(parts | join)) }}
{%- endmacro %}

{#- Snowflake's way into a variant, one name after the other: a path in one text has names that cannot be written. -#}
{% macro json_value(variant, path) -%}
    {{ 'get(' * path | length }}{{ variant }}
    {%- for name in path -%}, {{ literal(name) }}){%- endfor -%}
{%- endmacro %}
