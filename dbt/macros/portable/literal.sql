{#- A text as a literal; Snowflake takes a backslash for an escape. -#}
{% macro literal(text) -%}
    {{ return(adapter.dispatch('literal')(text)) }}
{%- endmacro %}

{% macro default__literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}

{% macro snowflake__literal(text) -%}
    '{{ text | replace("\\", "\\\\") | replace("'", "''") }}'
{%- endmacro %}
