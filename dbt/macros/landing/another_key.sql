{#- Whether the table was built by another key than the model has now. Its comment, which dbt writes from the model's
    description, ends with the key. A table whose comment does not is built from scratch, since nothing says by which
    key its rows were matched. -#}
{% macro built_by_another_key() -%}
    {%- if not execute -%}{{ return(false) }}{%- endif -%}
    {%- set found = run_query(adapter.dispatch('comment_of')(this)) -%}
    {%- set comment = (found.rows[0][0] or '') if found.rows else '' -%}
    {{ return(not comment.endswith(' Key: ' ~ model.config.unique_key | join(', ') ~ '.')) }}
{%- endmacro %}

{#- A hook before the build: rows that were matched by another key leave the table, in the transaction that fills it. -#}
{% macro empty_if_built_by_another_key() -%}
    {%- if execute and is_incremental() and built_by_another_key() -%}
        delete from {{ this }}
    {%- endif -%}
{%- endmacro %}

{% macro default__comment_of(relation) -%}
    select comment
    from duckdb_tables()
    where database_name = {{ literal(relation.database) }}
        and schema_name = {{ literal(relation.schema) }}
        and table_name = {{ literal(relation.identifier) }}
{%- endmacro %}

{% macro snowflake__comment_of(relation) -%}
    select comment
    from {{ relation.database }}.information_schema.tables
    where table_schema = {{ literal(relation.schema | upper) }} and table_name = {{ literal(relation.identifier | upper) }}
{%- endmacro %}
