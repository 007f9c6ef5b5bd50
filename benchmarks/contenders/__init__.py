"""The programs that are measured, each a process of its own. Those of peers run in the peers' environments.

Each takes one JSON object as its argument and prints one as its last line.
"""
