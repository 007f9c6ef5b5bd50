{#- One value out of a text that holds JSON: a string without its quotes, anything else as JSON, null if absent.
    path is a list of names. -#}
{% macro json_text(text, path) -%}
    {{ return(adapter.dispatch('json_text')(text, path)) }}
{%- endmacro %}

{% macro default__json_text(text, path) -%}
    try(json_extract_string({{ text }}, {{ json_path(path) }}))
{%- endmacro %}

{% macro snowflake__json_text(text, path) -%}
    cast(get_path(try_parse_json({{ text }}), {{ json_path(path) }}) as varchar)
{%- endmacro %}

{#- The path as a literal of the warehouse's own spelling, every name quoted. -#}
{% macro json_path(path) -%}
    {{ return(adapter.dispatch('json_path')(path)) }}
{%- endmacro %}

{% macro default__json_path(path) -%}
    '$
    {%- for name in path -%}
        ."{{ name | replace('\\', '\\\\') | replace('"', '\\"') | replace("'", "''") }}"
    {%- endfor -%}
    '
{%- endmacro %}

{% macro snowflake__json_path(path) -%}
    '
    {%- for name in path -%}
        ["{{ name | replace('"', '""') | replace("'", "''") }}"]
    {%- endfor -%}
    '
{%- endmacro %}
