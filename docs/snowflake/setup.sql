-- Snowflake, made ready for Groundwork: run once, as a user who may use SECURITYADMIN, SYSADMIN and ACCOUNTADMIN.
-- Replace what stands in capitals between angle brackets: <BUCKET>, <PREFIX>, <ACCOUNT_ID>, <ROLE>, <PUBLIC_KEY>.
-- Every statement can be repeated.

-- 1. Who: one role that loads and builds, one that reads, one user for the programs.
use role securityadmin;
create role if not exists groundwork_loader comment = 'loads landing, builds staging and visualization';
create role if not exists groundwork_reader comment = 'reads visualization';
grant role groundwork_reader to role groundwork_loader;
grant role groundwork_loader to role sysadmin;

use role useradmin;
create user if not exists groundwork
    type = service
    default_role = groundwork_loader
    default_warehouse = groundwork_wh
    comment = 'the data platform, which signs in with a key pair';
-- openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes256 -out rsa_key.p8; openssl rsa -in rsa_key.p8 -pubout
alter user groundwork set rsa_public_key = '<PUBLIC_KEY>';
-- Nothing may depend on what an account's default is.
alter user groundwork set timezone = 'UTC';
alter user groundwork set timestamp_type_mapping = 'TIMESTAMP_NTZ';
use role securityadmin;
grant role groundwork_loader to user groundwork;

-- 2. What it may cost: a small virtual warehouse that sleeps after a minute, and a monitor that stops it.
use role accountadmin;
create resource monitor if not exists groundwork_monitor with
    credit_quota = 30
    frequency = monthly
    start_timestamp = immediately
    triggers
        on 80 percent do notify
        on 100 percent do suspend
        on 110 percent do suspend_immediate;
create warehouse if not exists groundwork_wh
    warehouse_size = 'XSMALL'
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true
    statement_timeout_in_seconds = 3600
    comment = 'loads and dbt';
alter warehouse groundwork_wh set resource_monitor = groundwork_monitor;
grant usage on warehouse groundwork_wh to role groundwork_loader;
grant usage on warehouse groundwork_wh to role groundwork_reader;

-- 3. Where: a database with the three layers. Readers see the last one.
use role sysadmin;
create database if not exists groundwork comment = 'landing, staging, visualization';
create schema if not exists groundwork.landing;
create schema if not exists groundwork.staging;
create schema if not exists groundwork.visualization;
grant usage on database groundwork to role groundwork_loader;
grant create schema on database groundwork to role groundwork_loader;
grant all privileges on schema groundwork.landing to role groundwork_loader;
grant all privileges on schema groundwork.staging to role groundwork_loader;
grant all privileges on schema groundwork.visualization to role groundwork_loader;
grant usage on database groundwork to role groundwork_reader;
grant usage on schema groundwork.visualization to role groundwork_reader;
use role securityadmin;
grant select on future tables in schema groundwork.visualization to role groundwork_reader;

-- 4. The bucket: Snowflake reads it in a role of AWS, without any key.
use role accountadmin;
create storage integration if not exists groundwork_bucket
    type = external_stage
    storage_provider = 'S3'
    enabled = true
    storage_aws_role_arn = 'arn:aws:iam::<ACCOUNT_ID>:role/<ROLE>'
    storage_allowed_locations = ('s3://<BUCKET>/<PREFIX>/');
-- Its answer has the two values that the AWS role must trust: STORAGE_AWS_IAM_USER_ARN, STORAGE_AWS_EXTERNAL_ID.
describe integration groundwork_bucket;
grant usage on integration groundwork_bucket to role sysadmin;

use role sysadmin;
create stage if not exists groundwork.landing.groundwork
    url = 's3://<BUCKET>/<PREFIX>/'
    storage_integration = groundwork_bucket
    comment = 'the bucket itself: COPY reads its objects';
grant usage on stage groundwork.landing.groundwork to role groundwork_loader;

-- The other way (GROUNDWORK_SNOWFLAKE_STAGING=internal): the platform sends each load's files here.
create stage if not exists groundwork.landing.groundwork_files comment = 'files of loads on their way';
grant read on stage groundwork.landing.groundwork_files to role groundwork_loader;
grant write on stage groundwork.landing.groundwork_files to role groundwork_loader;

-- 5. If operations.warehouse_cost is wanted (GROUNDWORK_SNOWFLAKE_COST=true): what statements cost.
use role accountadmin;
grant database role snowflake.usage_viewer to role groundwork_loader;
