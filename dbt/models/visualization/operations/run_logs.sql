with lines as (
    select
        log_id,
        flow_run_id,
        task_run_id,
        logger_name,
        level,
        message,
        logged_at,
        created_at,
        -- our own lines end in key=value pairs; these two name the batch a line speaks of
        nullif({{ dbt.split_part(dbt.split_part("message", "' source='", 2), "' '", 1) }}, '') as source_name,
        nullif({{ dbt.split_part(dbt.split_part("message", "' batch='", 2), "' '", 1) }}, '') as batch_id,
        _committed_at,
        _stored_at,
        _loaded_at,
        _file,
        _row,
        _run_id
    from {{ ref('stg_ops__logs') }}
)

select
    lines.log_id,
    lines.flow_run_id,
    runs.flow_run_name,
    runs.flow_name,
    lines.task_run_id,
    tasks.task_run_name,
    lines.logger_name,
    lines.level,
    case
        when lines.level >= 50 then 'critical'
        when lines.level >= 40 then 'error'
        when lines.level >= 30 then 'warning'
        when lines.level >= 20 then 'info'
        else 'debug'
    end as level_name,
    lines.message,
    lines.logged_at,
    lines.created_at,
    batches.batch_key,
    batches.source_name as batch_source_name,
    batches.batch_id,
    batches.extract_run_id as batch_extract_run_id,
    lines._committed_at,
    lines._stored_at,
    lines._loaded_at,
    {{ utc_now() }} as _built_at,
    lines._file,
    lines._row,
    lines._run_id
from lines
left join {{ ref('stg_ops__flow_runs') }} as runs on lines.flow_run_id = runs.flow_run_id
left join {{ ref('stg_ops__task_runs') }} as tasks on lines.task_run_id = tasks.task_run_id
left join {{ ref('stg_ledger__batches') }} as batches
    on lines.source_name = batches.source_name and lines.batch_id = batches.batch_id
