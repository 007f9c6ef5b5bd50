"""What holds for every test."""

import os

# Our loggers speak outside of flow runs here; Prefect need not warn of each line.
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
os.environ.setdefault("DO_NOT_TRACK", "1")
