with results as (
    select
        invocation_id || '/' || unique_id as dbt_result_id,
        invocation_id,
        unique_id,
        resource_type,
        node_name,
        status,
        execution_seconds,
        rows_affected,
        failures,
        message,
        started_at,
        completed_at,
        flow_run_id,
        row_number() over (partition by unique_id order by completed_at desc, invocation_id desc) as recency,
        _committed_at,
        _stored_at,
        _loaded_at,
        _file,
        _row,
        _run_id
    from {{ ref('stg_ops__dbt_results') }}
)

select
    results.dbt_result_id,
    results.invocation_id,
    results.unique_id,
    results.resource_type,
    results.node_name,
    results.status,
    case
        when results.status in ('success', 'pass') then 'good'
        when results.status in ('error', 'fail', 'runtime error') then 'bad'
        when results.status = 'warn' then 'doubtful'
        else 'not run'
    end as outcome,
    results.recency = 1 as is_newest,
    results.execution_seconds,
    results.rows_affected,
    results.failures,
    results.message,
    results.started_at,
    results.completed_at,
    results.flow_run_id,
    runs.flow_run_name,
    results._committed_at,
    results._stored_at,
    results._loaded_at,
    {{ utc_now() }} as _built_at,
    results._file,
    results._row,
    results._run_id
from results
left join {{ ref('stg_ops__flow_runs') }} as runs on results.flow_run_id = runs.flow_run_id
