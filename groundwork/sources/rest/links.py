"""The ``Link`` header (RFC 8288): where the next page is."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TARGET = re.compile(r"<([^>]*)>")
_PARAMETER = re.compile(r'\s*;\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?')


def next_link(values: Iterable[str]) -> str | None:
    """The target whose relation is ``next``, as it is written: it may be relative.

    Args:
        values: of all ``Link`` headers of an answer.
    """
    for text in values:
        at = 0
        while target := _TARGET.search(text, at):
            at, relation = target.end(), ""
            while parameter := _PARAMETER.match(text, at):
                at = parameter.end()
                if parameter[1].lower() == "rel" and not relation:  # the first one counts (§3.3)
                    relation = parameter[2] or parameter[3] or ""
            if "next" in relation.lower().split():
                return target[1]
    return None
