{#- A record as a JSON reader takes it. JSON allows the escape of half a character ("cut \ud83d", RFC 8259 §8.2), but no
    Unicode text can hold it, so readers refuse the whole record. Here it becomes the replacement character U+FFFD;
    landing keeps the record's own letters. Other records are left alone, after a search for four bytes. -#}
{% macro readable_record(text) -%}
    {{ return(adapter.dispatch('readable_record')(text)) }}
{%- endmacro %}

{#- Pairs of escapes are one character each, and an escaped backslash begins no escape: both get marks (U+0001, which
    no JSON text can hold) until the escapes that are left are replaced. -#}
{% macro default__readable_record(text) -%}
    case
        when (contains({{ text }}, '\ud') or contains({{ text }}, '\uD')) and not json_valid({{ text }})
            then replace(replace(replace(
                regexp_replace(
                    regexp_replace(
                        {{ text }},
                        '(\\\\)|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})',
                        '\1' || chr(1) || '\2' || chr(1) || '\3', 'g'
                    ),
                    '\\u[dD][89a-fA-F][0-9a-fA-F]{2}', chr(2), 'g'
                ),
                chr(1) || chr(1), ''
            ), chr(1), '\u'), chr(2), '\ufffd')
        else {{ text }}
    end
{%- endmacro %}

{#- The same; between dollar signs a backslash is a backslash. -#}
{% macro snowflake__readable_record(text) -%}
    case
        when (contains({{ text }}, $$\ud$$) or contains({{ text }}, $$\uD$$)) and try_parse_json({{ text }}) is null
            then replace(replace(replace(
                regexp_replace(
                    regexp_replace(
                        {{ text }},
                        $$(\\\\)|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})$$,
                        $$\1$$ || chr(1) || $$\2$$ || chr(1) || $$\3$$
                    ),
                    $$\\u[dD][89a-fA-F][0-9a-fA-F]{2}$$, chr(2)
                ),
                chr(1) || chr(1), ''
            ), chr(1), $$\u$$), chr(2), $$\ufffd$$)
        else {{ text }}
    end
{%- endmacro %}
