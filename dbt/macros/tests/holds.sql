{#- An expression that is true of every row. -#}
{% test holds(model, expression) %}
select *
from (select * from {{ model }}) as checked
where not coalesce({{ expression }}, false)
{% endtest %}
