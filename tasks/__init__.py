"""Thin Prefect tasks around groundwork: names, retries, tags, artifacts, blocks."""
