{#- The quotient of two decimals, exact and rounded half away from zero to `digits` places; null when the divisor is 0.

    DuckDB divides decimals as doubles (0.69 / 1.2 is 0.57499999999999996), and Snowflake rounds a quotient to six
    more digits before anyone can round it: both can be a cent off. So the quotient is one of whole numbers.

    Both values count to six places. A quotient of more than 38 - 6 - `digits` digits is an error of the warehouse. -#}
{% macro decimal_division(dividend, divisor, digits) -%}
    {%- set above -%} abs({{ in_millionths(dividend) }}) * {{ 10 ** digits }} {%- endset -%}
    {%- set below -%} abs(nullif({{ in_millionths(divisor) }}, 0)) {%- endset -%}
    cast(
        sign({{ dividend }}) * sign({{ divisor }})
        * (
            {{ whole_quotient(above, below) }}
            + case when 2 * mod({{ above }}, {{ below }}) >= {{ below }} then 1 else 0 end
        ) * cast({{ '0.' ~ '0' * (digits - 1) ~ '1' if digits else '1' }} as decimal({{ digits + 1 }}, {{ digits }}))
        as decimal(38, {{ digits }})
    )
{%- endmacro %}

{% macro in_millionths(value) -%}
    {{ return(adapter.dispatch('in_millionths')(value)) }}
{%- endmacro %}

{% macro default__in_millionths(value) -%}
    cast(cast({{ value }} as decimal(38, 6)) * 1000000 as hugeint)
{%- endmacro %}

{% macro snowflake__in_millionths(value) -%}
    cast(cast({{ value }} as number(32, 6)) * 1000000 as number(38, 0))
{%- endmacro %}

{#- How often one whole number, not negative, is in another. -#}
{% macro whole_quotient(dividend, divisor) -%}
    {{ return(adapter.dispatch('whole_quotient')(dividend, divisor)) }}
{%- endmacro %}

{% macro default__whole_quotient(dividend, divisor) -%}
    (({{ dividend }}) // ({{ divisor }}))
{%- endmacro %}

{#- Without a remainder the quotient is whole, so that nothing of it is rounded. -#}
{% macro snowflake__whole_quotient(dividend, divisor) -%}
    ((({{ dividend }}) - mod({{ dividend }}, {{ divisor }})) / ({{ divisor }}))
{%- endmacro %}
