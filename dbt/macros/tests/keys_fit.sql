{#- Every landed record has a key of the declared type. One that has none is not in the base model, since nothing says
    which record it is; it must not go unnoticed. Looks at the batches of the last `days` days, and not at what a
    truncate struck out: it may be of a time when the table had another key. -#}
{% test keys_fit(model, landing, key, days=30) %}
{%- set relation = render('{{ ' ~ landing ~ ' }}') if landing is string else landing -%}
{%- set recent = "landing_row._operation <> 'truncate' and landing_row._sequence >= coalesce((select max(_sequence) from "
    ~ relation ~ " where _operation = 'truncate'), '') and landing_row._loaded_at >= " ~ dbt.dateadd('day', -days, utc_now()) %}
select _file, _row
from ({{ landed(relation, key | map(attribute='name') | list, key, recent) }}) as landed_row
where {% for column in key %}{{ 'or ' if not loop.first }}{{ column_name(column.name) }} is null {% endfor %}
{% endtest %}
