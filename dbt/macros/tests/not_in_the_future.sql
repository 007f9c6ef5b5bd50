{#- No instant of this column lies ahead of the warehouse's clock by more than `minutes`.

    A load whose clock ran ahead has written such an instant into the ledger, and rows have it rightly. The test of the
    ledger itself warns of it (`as_loaded=false`); every other test compares with the ledger's newest instant too, so
    that it finds what a model made wrong and does not hold back what is right for as long as the clock ran ahead. -#}
{% test not_in_the_future(model, column_name, minutes=60, as_loaded=true) %}
{%- set ledger = api.Relation.create(database=target.database, schema=var('landing_schema'), identifier='_batches') %}
with clock as (
    select {{ utc_now() }} as at_now
    {%- if as_loaded %}
    union all
    select max(loaded_at) as at_now from {{ ledger }}
    {%- endif %}
)

select {{ column_name }}
from {{ model }}
where {{ column_name }} > (select {{ dbt.dateadd('minute', minutes, 'max(at_now)') }} from clock)
{% endtest %}
