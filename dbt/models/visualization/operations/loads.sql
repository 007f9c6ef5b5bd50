select
    batches.batch_key,
    batches.source_name,
    batches.batch_id,
    batches.row_count,
    batches.object_count,
    batches.operations,
    batches.events,
    batches.started_at,
    batches.stored_at,
    batches.loaded_at,
    -- long only once dbt has spelled out datediff
    cast({{ dbt.datediff('batches.started_at', 'batches.stored_at', 'second') }} as bigint) as extract_seconds, -- noqa: LT05
    cast({{ dbt.datediff('batches.stored_at', 'batches.loaded_at', 'second') }} as bigint) as wait_seconds, -- noqa: LT05
    batches.manifest_key,
    batches.extract_run_id,
    extract_runs.flow_run_name as extract_run_name,
    extract_runs.state_type as extract_state_type,
    batches.load_run_id,
    load_runs.flow_run_name as load_run_name,
    load_runs.state_type as load_state_type,
    {{ utc_now() }} as _built_at
from {{ ref('stg_ledger__batches') }} as batches
left join {{ ref('stg_ops__flow_runs') }} as extract_runs on batches.extract_run_id = extract_runs.flow_run_id
left join {{ ref('stg_ops__flow_runs') }} as load_runs on batches.load_run_id = load_runs.flow_run_id
