{#- No instant of this column lies ahead of the warehouse's clock by more than `minutes`. -#}
{% test not_in_the_future(model, column_name, minutes=60) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} > {{ dbt.dateadd('minute', minutes, utc_now()) }}
{% endtest %}
