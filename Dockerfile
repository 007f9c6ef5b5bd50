# One image, three doors: a long-running Prefect worker (the default), runs of a Prefect Docker work pool, and a
# function of AWS Lambda. docs/image.md tells how each is opened, and what was measured.
#   docker build --tag groundwork:<version> .
ARG BASE_IMAGE=python:3.11-slim-bookworm

# What is needed to build is left behind here.
FROM ${BASE_IMAGE} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/venv PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/groundwork
COPY deployments/image/uv.txt deployments/image/trim.py /tmp/
RUN python -m venv /opt/uv && /opt/uv/bin/pip install --quiet --require-hashes --requirement /tmp/uv.txt
# The dependencies are a layer of their own: a change of our code leaves it as it is. uv.lock holds every hash.
# Owned by root and written by nobody: no run can change what runs.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --locked --quiet --no-default-groups --group lambda --no-install-project --python "$(command -v python)" \
 && /opt/uv/bin/uv pip check --python /opt/venv/bin/python \
 && /opt/venv/bin/python /tmp/trim.py /opt/venv \
 && /opt/venv/bin/python -c "import dbt.cli.main, duckdb, polars, prefect_docker, pyarrow.parquet" \
 && chmod -R go-w,a+rX /opt/venv
COPY . .
RUN /opt/venv/bin/python -m compileall -q -j 0 catalog deployments flows groundwork signing tasks \
 && chmod -R go-w,a+rX /opt/groundwork

FROM ${BASE_IMAGE}
# /var/lib/groundwork is the one place that outlives a container, if a volume is mounted there: it holds the
# DuckDB file. All else that is written goes to /tmp, so the root file system can be read-only, as Lambda's is.
RUN groupadd --gid 10001 groundwork \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin groundwork \
 && install --directory --owner=groundwork --group=groundwork --mode=0750 /var/lib/groundwork \
 && find / -xdev -path '*-packages/*' -prune \( -name pip -o -name setuptools -o -name wheel \) -exec rm -rf {} + \
 && rm -f /usr/bin/pip* /usr/local/bin/pip* /usr/local/bin/wheel \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/groundwork /opt/groundwork
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/groundwork PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp PREFECT_HOME=/tmp/prefect PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1 \
    GROUNDWORK_HOME=/var/lib/groundwork \
    DBT_TARGET_PATH=/tmp/dbt/target DBT_LOG_PATH=/tmp/dbt/logs DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    DO_NOT_TRACK=1
WORKDIR /opt/groundwork
USER 10001:10001
# Last, so that a new version shares every layer above.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Groundwork" \
      org.opencontainers.image.description="A data platform from the ground up, for a data team of one" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-S", "/opt/groundwork/deployments/image/health.py"]
CMD ["prefect", "worker", "start", "--pool", "groundwork", "--with-healthcheck"]
