-- Batches of a source are numbered without gaps: a missing number is a batch that was never loaded.
select
    source_name,
    batch_id
from (
    select
        source_name,
        batch_id,
        lag(batch_id) over (partition by source_name order by batch_id) as batch_before
    from {{ ref('stg_ledger__batches') }}
) as numbered
where cast(batch_id as bigint) <> coalesce(cast(batch_before as bigint), 0) + 1
