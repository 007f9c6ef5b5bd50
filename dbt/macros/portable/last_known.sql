{#- The last value that is not null, as a window function without its window. -#}
{% macro last_known(expression) -%}
    {{ return(adapter.dispatch('last_known')(expression)) }}
{%- endmacro %}

{% macro default__last_known(expression) -%}
    last_value({{ expression }} ignore nulls)
{%- endmacro %}

{% macro snowflake__last_known(expression) -%}
    last_value({{ expression }}) ignore nulls
{%- endmacro %}
