select
    -- ids
    source || '/' || batch_id as batch_key,
    source as source_name,
    batch_id,
    extract_run_id,
    load_run_id,

    -- strings
    operations,
    events,
    manifest as manifest_key,

    -- numerics
    {{ column_name('rows') }} as row_count,
    objects as object_count,

    -- timestamps
    started_at,
    stored_at,
    loaded_at
from {{ source('ledger', 'batches') }}
