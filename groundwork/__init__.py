"""How Groundwork moves data: plain Python that never imports Prefect.

Data flows one way: a *source* yields rows and checkpoints, `extract` commits them to the *bucket* as
batches, `load` copies batches to a *warehouse*, and dbt gives them meaning.
"""
