select
    -- ids
    id as flow_run_id,
    flow_id,
    deployment_id,

    -- strings
    name as flow_run_name,
    flow_name,
    deployment_name,
    lower(state_type) as state_type,
    state_name,
    state_message,
    parameters,

    -- numerics
    total_run_time as run_seconds,

    -- timestamps
    start_time as started_at,
    end_time as ended_at,
    created as created_at,
    updated as updated_at,

    -- where the row comes from, and when it passed
    _operation,
    _sequence,
    _committed_at,
    _stored_at,
    _loaded_at,
    _built_at,
    _batch_id,
    _file,
    _row,
    _run_id
from {{ ref('base_ops__flow_runs') }}
where _operation not in ('delete', 'truncate')
