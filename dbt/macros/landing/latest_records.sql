{#- The newest version of every record, tombstones included: what a base model is.

    A run reads the landing rows of batches it has not seen, takes the newest per key and writes it if it is newer
    than the row present in the table: its cost follows what changed. It is the same table as a full refresh gives,
    because everything that could make them differ is read anew from landing:

    - a column the table does not have yet: the whole history, once;
    - a key with a value that the log did not repeat (`_unchanged`): the history of this key;
    - a truncate: the table's rows that stand before it.

    docs/decisions/0011-base-models.md has the other way, and the figures. -#}
{% macro latest_records(landing, key, columns, log_based=false) -%}
{%- set names = columns | map(attribute='name') | list -%}
{%- set incremental = is_incremental() and not lacks_a_column(this, names) and not built_by_another_key() -%}
{%- set record = "landing_row._operation <> 'truncate'" -%}
{%- set seen = seen_by(this, landing) if incremental %}
with {{ 'recursive ' if log_based }}truncated as (
    -- whatever stands before this place in the source's order is gone
    select max(_sequence) as _sequence from {{ landing }} where _operation = 'truncate'
),

{% if incremental -%}
fresh as (
    {{ landed(landing, key, columns, record ~ ' and ' ~ is_fresh(seen)) }}
),

present as (
    select {{ columns_of('old', key) }}, {{ columns_of('old', ['_sequence', '_unchanged', '_batch_id', '_file', '_row']) }}
    from {{ this }} as old
    inner join (select distinct {{ columns_of('', key) }} from fresh) as touched on {{ same('old', 'touched', key) }}
),

{% if log_based -%}
patched_keys as (
    select {{ columns_of('', key) }} from fresh where _unchanged is not null
    union
    select {{ columns_of('', key) }} from present where _unchanged is not null
),

{% endif -%}
{%- elif log_based -%}
patched_keys as (
    select distinct {{ columns_of('', key) }}
    from ({{ landed(landing, key, columns, record ~ ' and landing_row._unchanged is not null', narrow=true) }}) as patches
),

{% endif -%}
{%- if log_based -%}
{{ lives_of('patched_keys', landing, key, columns) }}

history as (
    select
        {%- for name in names %}
        {{ 'lives' if name in key else 'landed_version' }}.{{ column_name(name) }},
        {%- endfor %}
        {{ columns_of('landed_version', metadata_columns()) }},
        lives._generation,
        lives._path,
        max(moves._moved_at) over (
            partition by {{ columns_of('lives', key) }}, lives._path order by landed_version._sequence
            rows between unbounded preceding and current row
        ) as _moved_at
    from ({{ landed(landing, key, columns, record) }}) as landed_version
    inner join lives
        on {% for name in key -%}
            landed_version.{{ column_name(name) }} = lives.{{ column_name('_as_' ~ loop.index) }} and {% endfor -%}
            landed_version._sequence < lives._until
    -- what happened to the key before its record came there is of another record, or of a life that has a row here
    left join moves as arrival
        on {% for name in key -%}
            lives.{{ column_name('_as_' ~ loop.index) }} = arrival.{{ column_name(name) }} and {% endfor -%}
            arrival._moved_at < lives._until
            and (arrival._moved_again_at is null or arrival._moved_again_at >= lives._until)
    left join moves
        on landed_version._sequence = moves._moved_at and {{ same('landed_version', 'moves', key) }}
    where arrival._moved_at is null or landed_version._sequence >= arrival._moved_at
),

patched as (
    {{ with_last_known_values('history', key, names) }}
),

{% endif -%}
{% if incremental -%}
versions as (
    {% if log_based -%}
    select {{ columns_of('whole', names + metadata_columns()) }}
    from fresh as whole
    left join patched_keys on {{ same('whole', 'patched_keys', key) }}
    where patched_keys.{{ column_name(key[0]) }} is null
    union all
    select {{ columns_of('', names + metadata_columns()) }} from patched
    {%- else -%}
    select {{ columns_of('', names + metadata_columns()) }} from fresh
    {%- endif %}
),

ranked as (
    select
        {{ columns_of('', names + metadata_columns()) }},
        row_number() over (partition by {{ columns_of('', key) }} order by {{ newest_first() }}) as _recency
    from versions
    where {{ all_there(key) }}
),

newest as (
    select {{ columns_of('ranked', names + metadata_columns()) }}
    from ranked
    left join present on {{ same('ranked', 'present', key) }}
    where ranked._recency = 1
        and (present._sequence is null or {{ stands_at_or_after('ranked', 'present') }})
)
{%- else -%}
-- only keys and places are sorted; the rows themselves are fetched once it is known which
newest_places as (
    select _file, _row
    from (
        select
            _file, _row,
            row_number() over (partition by {{ columns_of('', key) }} order by {{ newest_first() }}) as _recency
        from ({{ landed(landing, key, columns, record, narrow=true) }}) as places
        where {{ all_there(key) }}
    ) as ranked
    where _recency = 1
),

newest as (
    select {{ columns_of('whole', names + metadata_columns()) }}
    from ({{ landed(landing, key, columns, record) }}) as whole
    inner join newest_places on whole._file = newest_places._file and whole._row = newest_places._row
    {%- if log_based %}
    left join patched_keys on {{ same('whole', 'patched_keys', key) }}
    where patched_keys.{{ column_name(key[0]) }} is null
    union all
    select {{ columns_of('patched', names + metadata_columns()) }}
    from patched
    inner join newest_places on patched._file = newest_places._file and patched._row = newest_places._row
    {%- endif %}
)
{%- endif %}

{{ as_base('newest', key, columns) }}
{%- if incremental and seen.truncated %}

union all

{{ swept_away(this, 'newest', key, names, seen) }}
{%- endif %}
{%- endmacro %}

{% macro all_there(key) -%}
    {% for name in key %}{{ ' and ' if not loop.first }}{{ column_name(name) }} is not null{% endfor %}
{%- endmacro %}

{#- Under which keys the records with these keys lived before. A key that is changed at the source arrives as a delete of
    the old key and, one place on in the source's order, an update of the new one; what that update does not repeat is
    known under the old key only. `_as_1 …` is the key of a life, `_until` where it ended, `_path` the moves since.
    Of several moves to one key only the last before a life's end leads back: a record that goes to and fro would
    have as many pasts as there are ways to leave moves out, twice as many with each. -#}
{% macro lives_of(records, landing, key, columns) -%}
left_behind as (
    select
        {%- for name in key %}
        {{ column_name(name) }} as {{ column_name('_as_' ~ loop.index) }},
        {%- endfor %}
        _sequence as _until,
        {{ next_place('_sequence') }} as _moved_at
    from ({{ landed(landing, key, columns, "landing_row._operation = 'delete' and " ~ stands_before_a_move(), narrow=true) }})
        as deletes
),

moves as (
    select {{ columns_of('moved', key) }},
        {%- for name in key %}
        left_behind.{{ column_name('_as_' ~ loop.index) }},
        {%- endfor %}
        left_behind._until,
        left_behind._moved_at,
        lead(left_behind._moved_at) over (
            partition by {{ columns_of('moved', key) }} order by left_behind._moved_at
        ) as _moved_again_at
    from ({{ landed(landing, key, columns, "landing_row._unchanged is not null", narrow=true) }}) as moved
    inner join left_behind on moved._sequence = left_behind._moved_at
),

lives as (
    select distinct
        {{ columns_of(records, key) }},
        {%- for name in key %}
        {{ records }}.{{ column_name(name) }} as {{ column_name('_as_' ~ loop.index) }},
        {%- endfor %}
        cast('~' as {{ dbt.type_string() }}) as _until,
        cast('' as {{ dbt.type_string() }}) as _path,
        0 as _generation
    from {{ records }}
    union all
    select
        {{ columns_of('lives', key) }},
        {%- for name in key %}
        moves.{{ column_name('_as_' ~ loop.index) }},
        {%- endfor %}
        moves._until,
        lives._path || moves._moved_at || '/' as _path,
        lives._generation + 1 as _generation
    from lives
    inner join moves
        on {% for name in key -%}
            lives.{{ column_name('_as_' ~ loop.index) }} = moves.{{ column_name(name) }} and {% endfor -%}
            moves._moved_at < lives._until
            and (moves._moved_again_at is null or moves._moved_again_at >= lives._until)
),
{%- endmacro %}

{#- A change counts two places, so only what a change of key leaves behind stands at an odd one
    (groundwork/sources/tuples.py). Places are hexadecimal text. -#}
{% macro stands_before_a_move() -%}
    right(landing_row._sequence, 1) in ('1', '3', '5', '7', '9', 'b', 'd', 'f')
{%- endmacro %}

{% macro next_place(sequence) -%}
    left(rtrim({{ sequence }}, 'f'), length(rtrim({{ sequence }}, 'f')) - 1)
        || translate(right(rtrim({{ sequence }}, 'f'), 1), '0123456789abcde', '123456789abcdef')
        || repeat('0', length({{ sequence }}) - length(rtrim({{ sequence }}, 'f')))
{%- endmacro %}

{#- Every value the log did not repeat, replaced by the last one known: the newest earlier version of the record that
    has it. A real null is a value, so known values carry a mark in front while looking back. Lives under older keys
    come first, then the record's own versions: that is the order of their paths. -#}
{% macro with_last_known_values(history, key, names) -%}
    select {{ columns_of('', names + metadata_columns()) }}
    from (
        select
            {%- for name in names %}
            {% if name in key -%}
            {{ column_name(name) }},
            {%- else -%}
            {%- set known -%}
                {%- set value -%}
                    case
                        when {{ is_unchanged(name) }} then null
                        else coalesce('=' || {{ column_name(name) }}, '-')
                    end
                {%- endset -%}
                {{ last_known(value) }} over (
                    partition by {{ columns_of('', key) }}
                    order by _path || coalesce(_moved_at || '/', '') || _sequence, _batch_id, _file, _row
                    rows between unbounded preceding and current row
                )
            {%- endset -%}
            case when {{ known }} <> '-' then substr({{ known }}, 2) end as {{ column_name(name) }},
            {%- endif -%}
            {%- endfor %}
            {{ columns_of('', metadata_columns()) }},
            _generation
        from {{ history }}
    ) as filled
    where _generation = 0
{%- endmacro %}

{#- Whether `_unchanged`, a JSON array of names, holds this one: a name with its quotes cannot stand inside another.
    Names beyond ASCII may be written as they are or as \\u escapes. -#}
{% macro is_unchanged(name) -%}
    {%- set escaped = tojson(name) -%}
    {%- set letters = [] -%}
    {%- for letter in name -%}
        {%- do letters.append(tojson(letter)[1:-1] if letter < '\x80' else letter) -%}
    {%- endfor -%}
    {%- set plain = '"' ~ letters | join ~ '"' -%}
    contains(coalesce(_unchanged, ''), {{ literal(escaped) }})
    {%- if plain != escaped %} or contains(coalesce(_unchanged, ''), {{ literal(plain) }}){% endif -%}
{%- endmacro %}

{#- Landed rows as the base table has them: typed, with what did not fit, and struck out by a later truncate. -#}
{% macro as_base(rows, key, columns, operation='_operation') -%}
select
    {%- for column in columns %}
    {% set text = 'landed_row.' ~ column_name(column.name) -%}
    {{ text if column.name in key else typed(text, column.type) }} as {{ column_name(column.name) }},
    {%- endfor %}
    case
        when landed_row.{{ operation }} <> 'delete' and landed_row._sequence < truncated._sequence then 'truncate'
        else landed_row.{{ operation }}
    end as _operation,
    {{ columns_of('landed_row', metadata_columns() | reject('equalto', '_operation') | list) }},
    {{ cast_failures(columns, key) }} as _cast_failures,
    {{ utc_now() }} as _built_at
from {{ rows }} as landed_row
cross join truncated
{%- endmacro %}

{#- Rows of the present table that stand before the newest truncate, and are not written anew anyway. -#}
{% macro swept_away(present, rows, key, names, seen) -%}
select
    {{ columns_of('old', names) }},
    'truncate' as _operation,
    {{ columns_of('old', metadata_columns() | reject('equalto', '_operation') | list) }},
    old._cast_failures,
    {{ utc_now() }} as _built_at
from {{ present }} as old
left join {{ rows }} as anew on {{ same('old', 'anew', key) }}
where
    old._sequence < '{{ seen.truncated }}'
    and old._operation not in ('delete', 'truncate')
    and anew._sequence is null
{%- endmacro %}

{#- How far the table has seen landing, and the newest truncate there: asked before the statement is written, since
    DuckDB skips what a literal rules out but reads every row to hold it against a subquery (2 s against 10 ms for two
    million rows).

    Rows that were overtaken leave no trace in the table, so the newest batch it shows may be older than the newest it
    read: then a batch is read twice, which changes nothing. Never is one missed: batches are numbered and loaded in
    order, and one that was loaded again (a replay) has a newer `_loaded_at`. -#}
{% macro seen_by(present, landing) -%}
    {%- if not execute -%}{{ return({'batch_id': '', 'loaded_at': '1970-01-01 00:00:00', 'truncated': ''}) }}{%- endif -%}
    {%- set found = run_query(
        "select max(_batch_id), max(_loaded_at), (select max(_sequence) from " ~ landing
        ~ " where _operation = 'truncate') from " ~ present
    ).rows[0] -%}
    {{ return({
        'batch_id': found[0] or '',
        'loaded_at': found[1] or '1970-01-01 00:00:00',
        'truncated': found[2] or '',
    }) }}
{%- endmacro %}

{% macro is_fresh(seen) -%}
    (landing_row._batch_id > '{{ seen.batch_id }}' or landing_row._loaded_at > cast('{{ seen.loaded_at }}' as timestamp))
{%- endmacro %}

{#- Whether a table misses one of the columns. Says no when it cannot tell (a unit test's fixture has no columns). -#}
{% macro lacks_a_column(relation, names) -%}
    {%- if not execute -%}{{ return(false) }}{%- endif -%}
    {%- set present = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list -%}
    {%- for name in names if present and name | lower not in present -%}
        {{ return(true) }}
    {%- endfor -%}
    {{ return(false) }}
{%- endmacro %}
