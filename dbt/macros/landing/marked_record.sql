{#- Numbers of a record, letter for letter. JSON readers take numbers for numbers: DuckDB's turns 12345678901234567890.12
    into 12345678901234567000.0, 123.40 into 123.4 and 0.0000001 into 1e-7, Snowflake's does the like. So a record with
    a number that they would not repeat is marked before it is read: each number becomes a string, and each value that
    is a string gets an equals sign at its end. {"a": "x", "b": [2.50]} becomes {"a": "x=", "b": ["2.50"]}; names stay,
    so paths do. What is read there, at any depth, is turned back. Records without such a number are left alone: that
    is five times cheaper. -#}
{% macro has_rewritten_numbers(text) -%}
    {{ return(adapter.dispatch('has_rewritten_numbers')(text)) }}
{%- endmacro %}

{#- Sixteen digits, a last digit 0 after the point, an exponent, a tiny number, or -0. -#}
{% macro default__has_rewritten_numbers(text) -%}
    regexp_matches({{ text }}, '[:,\[]\s*(-?([0-9.]{16}|[0-9]+\.[0-9]*0[^0-9]|[0-9.]+[eE]|0\.000)|-0[^.])')
{%- endmacro %}

{#- Between dollar signs a backslash is a backslash. -#}
{% macro snowflake__has_rewritten_numbers(text) -%}
    regexp_like({{ text }}, $$.*[:,\[]\s*(-?([0-9.]{16}|[0-9]+\.[0-9]*0[^0-9]|[0-9.]+[eE]|0\.000)|-0[^.]).*$$, 's')
{%- endmacro %}

{#- Strings, names with their colons and numbers are matched whole. U+0001, U+0002 and U+0003, which no JSON text can
    hold, then stand where their parts end: a string has all three at its end, a name the last two around its colon, a
    number the first two before it. -#}
{% macro with_marks(text) -%}
    {{ return(adapter.dispatch('with_marks')(text)) }}
{%- endmacro %}

{% macro default__with_marks(text) -%}
    replace(replace(replace(replace(replace(
        regexp_replace(
            {{ text }},
            '("(?:[^"\\]|\\.)*)"(\s*:)?|(-?[0-9][0-9.eE+-]*)',
            '\1' || chr(1) || '\2' || chr(2) || '\3' || chr(3), 'g'
        ),
        chr(1) || chr(2) || chr(3), '="'
    ), chr(1) || chr(2), '"'), chr(2) || chr(3), ''), chr(1), '"'), chr(3), '"')
{%- endmacro %}

{#- There are no groups that do not count. -#}
{% macro snowflake__with_marks(text) -%}
    replace(replace(replace(replace(replace(
        regexp_replace(
            {{ text }},
            $$("([^"\\]|\\.)*)"(\s*:)?|(-?[0-9][0-9.eE+-]*)$$,
            $$\1$$ || chr(1) || $$\3$$ || chr(2) || $$\4$$ || chr(3)
        ),
        chr(1) || chr(2) || chr(3), '="'
    ), chr(1) || chr(2), '"'), chr(2) || chr(3), ''), chr(1), '"'), chr(3), '"')
{%- endmacro %}

{#- A JSON text that was read in a marked record, as the record had it. A name has all three behind it, a string the last
    two, a number the first two before it. -#}
{% macro json_of_marked(text) -%}
    {{ return(adapter.dispatch('json_of_marked')(text)) }}
{%- endmacro %}

{% macro default__json_of_marked(text) -%}
    replace(replace(replace(replace(
        regexp_replace(
            {{ text }},
            '("(?:[^"\\]|\\.)*"\s*:)|("(?:[^"\\]|\\.)*)="|"(-?[0-9][0-9.eE+-]*)"',
            '\1' || chr(1) || '\2' || chr(2) || '\3' || chr(3), 'g'
        ),
        chr(1) || chr(2), chr(1)
    ), chr(2) || chr(3), '"'), chr(1), ''), chr(3), '')
{%- endmacro %}

{% macro snowflake__json_of_marked(text) -%}
    replace(replace(replace(replace(
        regexp_replace(
            {{ text }},
            $$("([^"\\]|\\.)*"\s*:)|("([^"\\]|\\.)*)="|"(-?[0-9][0-9.eE+-]*)"$$,
            $$\1$$ || chr(1) || $$\3$$ || chr(2) || $$\5$$ || chr(3)
        ),
        chr(1) || chr(2), chr(1)
    ), chr(2) || chr(3), '"'), chr(1), ''), chr(3), '')
{%- endmacro %}

{#- The same of a text that was read there: a string has no quotes, a number is what it was, all else is JSON. -#}
{% macro text_of_marked(text) -%}
    case
        when right({{ text }}, 1) = '=' then left({{ text }}, length({{ text }}) - 1)
        when left({{ text }}, 1) in ('{', '[') then {{ json_of_marked(text) }}
        else {{ text }}
    end
{%- endmacro %}
