"""Composition only: what runs after what. A flow names its steps; the steps live in tasks."""
