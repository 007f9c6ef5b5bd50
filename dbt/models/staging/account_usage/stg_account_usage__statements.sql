select
    -- ids
    query_id as statement_id,
    cast(get(try_parse_json(query_tag), 'flow_run_id') as varchar) as flow_run_id,

    -- strings
    coalesce(cast(get(try_parse_json(query_tag), 'groundwork') as varchar), 'other') as purpose,
    warehouse_name,
    user_name,

    -- numerics
    cast(credits_attributed_compute as double) as credits,

    -- timestamps
    cast(convert_timezone('UTC', start_time) as timestamp_ntz(6)) as started_at,
    cast(convert_timezone('UTC', end_time) as timestamp_ntz(6)) as ended_at
from {{ source('account_usage', 'query_attribution_history') }}
