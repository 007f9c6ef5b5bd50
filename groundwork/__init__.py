"""How Groundwork moves data: plain Python that never imports Prefect.

Data flows one way: a *source* yields rows and checkpoints, `extract` commits them to the *bucket* as
batches, `load` copies batches to a *warehouse*, and dbt gives them meaning.
"""

from __future__ import annotations

import gc
import os

# A short run is mostly imports. Meanwhile the collector would look again and again at objects that all stay,
# and numpy would start threads for linear algebra, which nobody here needs and which spin.
gc.set_threshold(20_000, 20, 20)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
