{#- The default schema of a target (main, public) gives the bare names of the layers; any other schema is
    somebody's own copy of the house and stands in front: ann_staging, ann_visualization. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if custom_schema_name is none -%}
        {{ target.schema }}
    {%- elif target.schema | lower in ['main', 'public'] -%}
        {{ custom_schema_name | trim }}
    {%- else -%}
        {{ target.schema }}_{{ custom_schema_name | trim }}
    {%- endif -%}
{%- endmacro %}
