"""Errors of pages that contradict each other: what follows them is not the whole."""

from __future__ import annotations

from groundwork.errors import AnswerUnusable


class PagesAstray(AnswerUnusable):
    """The pages contradict each other: what follows them is not the whole."""


class NotWhole(PagesAstray):
    """As many records came as the API does not count: to read them again may help."""
