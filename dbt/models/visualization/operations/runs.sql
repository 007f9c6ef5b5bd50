with lines as (
    select
        flow_run_id,
        count(*) as line_count,
        sum(case when level >= 40 then 1 else 0 end) as error_line_count,
        sum(case when level >= 30 and level < 40 then 1 else 0 end) as warning_line_count
    from {{ ref('stg_ops__logs') }}
    where flow_run_id is not null
    group by flow_run_id
),

tasks as (
    select
        flow_run_id,
        count(*) as task_run_count,
        sum(case when state_type in ('failed', 'crashed') then 1 else 0 end) as failed_task_run_count
    from {{ ref('stg_ops__task_runs') }}
    group by flow_run_id
),

batches as (
    select
        extract_run_id as flow_run_id,
        count(*) as batch_count,
        sum(row_count) as row_count
    from {{ ref('stg_ledger__batches') }}
    group by extract_run_id
)

select
    runs.flow_run_id,
    runs.flow_run_name,
    runs.flow_name,
    runs.deployment_name,
    runs.state_type,
    runs.state_name,
    runs.state_message,
    case
        when runs.state_type = 'completed' then 'good'
        when runs.state_type in ('failed', 'crashed') then 'bad'
        when runs.state_type in ('cancelled', 'cancelling') then 'stopped'
        else 'open'
    end as outcome,
    runs.created_at,
    runs.started_at,
    runs.ended_at,
    runs.run_seconds as duration_seconds,
    cast(coalesce(tasks.task_run_count, 0) as bigint) as task_run_count,
    cast(coalesce(tasks.failed_task_run_count, 0) as bigint) as failed_task_run_count,
    cast(coalesce(lines.line_count, 0) as bigint) as line_count,
    cast(coalesce(lines.warning_line_count, 0) as bigint) as warning_line_count,
    cast(coalesce(lines.error_line_count, 0) as bigint) as error_line_count,
    cast(coalesce(batches.batch_count, 0) as bigint) as batch_count,
    cast(coalesce(batches.row_count, 0) as bigint) as row_count,
    runs._committed_at,
    runs._stored_at,
    runs._loaded_at,
    {{ utc_now() }} as _built_at,
    runs._file,
    runs._row,
    runs._run_id
from {{ ref('stg_ops__flow_runs') }} as runs
left join lines on runs.flow_run_id = lines.flow_run_id
left join tasks on runs.flow_run_id = tasks.flow_run_id
left join batches on runs.flow_run_id = batches.flow_run_id
