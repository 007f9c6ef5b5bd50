select
    -- ids
    id as log_id,
    flow_run_id,
    task_run_id,

    -- strings
    name as logger_name,
    message,

    -- numerics
    level,

    -- timestamps
    timestamp as logged_at,
    created as created_at,

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
from {{ ref('base_ops__logs') }}
where _operation not in ('delete', 'truncate')
