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

{#- DuckDB's path, as a literal, every name quoted. -#}
{% macro json_path(path) -%}
    '$
    {%- for name in path -%}
        ."{{ name | replace('\\', '\\\\') | replace('"', '\\"') | replace("'", "''") }}"
    {%- endfor -%}
    '
{%- endmacro %}

{#- Snowflake's way into a variant, one name after the other: a path in one text has names that cannot be written. -#}
{% macro json_value(variant, path) -%}
    {{ 'get(' * path | length }}{{ variant }}
    {%- for name in path -%}, {{ literal(name) }}){%- endfor -%}
{%- endmacro %}
