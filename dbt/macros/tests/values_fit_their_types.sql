{#- No live row has a value that did not fit its declared type. A warning: the value is null here and whole in landing,
    and one odd value must not keep everybody from their figures. -#}
{% test values_fit_their_types(model) %}
{{ config(severity='warn') }}
select _cast_failures, _file, _row
from {{ model }}
where _cast_failures is not null and _operation not in ('delete', 'truncate')
{% endtest %}
