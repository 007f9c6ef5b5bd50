select
    -- ids
    invocation_id,
    unique_id,
    flow_run_id,

    -- strings
    resource_type,
    name as node_name,
    status,
    message,

    -- numerics
    execution_time as execution_seconds,
    rows_affected,
    failures,

    -- timestamps
    started_at,
    completed_at,

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
from {{ ref('base_ops__dbt_results') }}
where _operation not in ('delete', 'truncate')
