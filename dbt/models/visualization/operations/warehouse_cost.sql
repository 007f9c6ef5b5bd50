with statements as (
    select
        coalesce(flow_run_id, '') as flow_run_id,
        purpose,
        warehouse_name,
        count(*) as statement_count,
        sum(credits) as credits,
        min(started_at) as first_started_at,
        max(ended_at) as last_ended_at
    from {{ ref('stg_account_usage__statements') }}
    group by coalesce(flow_run_id, ''), purpose, warehouse_name
)

select
    statements.flow_run_id || '/' || statements.purpose || '/' || statements.warehouse_name as cost_key,
    nullif(statements.flow_run_id, '') as flow_run_id,
    runs.flow_run_name,
    runs.flow_name,
    statements.purpose,
    statements.warehouse_name,
    cast(statements.statement_count as bigint) as statement_count,
    statements.credits,
    statements.first_started_at,
    statements.last_ended_at,
    {{ utc_now() }} as _built_at
from statements
left join {{ ref('stg_ops__flow_runs') }} as runs on statements.flow_run_id = runs.flow_run_id
