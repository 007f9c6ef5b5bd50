"""What holds for every test."""

import os

from hypothesis import settings

# Our loggers speak outside of flow runs here; Prefect need not warn of each line.
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
os.environ.setdefault("DO_NOT_TRACK", "1")

# How fast is measured in `benchmarks`; a machine that does other things too is no failure.
settings.register_profile("groundwork", deadline=None)
settings.load_profile("groundwork")
