"""Where the README's figures come from: each thing measured beside its peers, in one command.

`python -m benchmarks --help` lists the benches; `docs/benchmarks.md` is written by them.
"""
