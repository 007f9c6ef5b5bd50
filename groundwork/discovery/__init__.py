"""Drafts of catalog entries, written from what a source shows."""
