"""Troubles: what is wrong, whom it concerns, and how it is told."""
