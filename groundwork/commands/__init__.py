"""The larger commands of `python -m groundwork`."""
