{#- The instant that a text names, in UTC without zone; null when it names none. A text without an offset is UTC.
    A plain cast to timestamp will not do: DuckDB drops the offset without a word. -#}
{% macro utc_timestamp(text) -%}
    {{ return(adapter.dispatch('utc_timestamp')(text)) }}
{%- endmacro %}

{% macro default__utc_timestamp(text) -%}
    cast(try_cast({{ text }} as timestamp with time zone) at time zone 'UTC' as timestamp)
{%- endmacro %}

{#- Texts with and without an offset are told apart, so the session's own time zone never matters. -#}
{% macro snowflake__utc_timestamp(text) -%}
    case
        when regexp_like({{ text }}, '[0-9]+-[0-9]+-[0-9]+[T ][0-9:.]+ ?(Z|[+-][0-9:]+)')
            then cast(convert_timezone('UTC', try_to_timestamp_tz({{ text }})) as timestamp_ntz(6))
        else cast(try_to_timestamp_ntz({{ text }}) as timestamp_ntz(6))
    end
{%- endmacro %}
