{#- A column of landing or base, quoted so that any name a source may give it works. -#}
{% macro column_name(name) -%}
    {{ return(adapter.dispatch('column_name')(name)) }}
{%- endmacro %}

{% macro default__column_name(name) -%}
    "{{ name | replace('"', '""') }}"
{%- endmacro %}

{#- Snowflake folds plain names to upper case; quoting them so keeps `select id` and reserved words working. -#}
{% macro snowflake__column_name(name) -%}
    {%- if modules.re.fullmatch('[a-z_][a-z0-9_]*', name) -%}
        "{{ name | upper }}"
    {%- else -%}
        "{{ name | replace('"', '""') }}"
    {%- endif -%}
{%- endmacro %}
