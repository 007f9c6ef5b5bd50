"""Dotted paths into JSON, as the catalog writes them."""

from __future__ import annotations

import re


def split_path(path: str) -> tuple[str, ...]:
    r"""The keys of a dotted path; ``\.`` is a dot within a key.

    >>> split_path(r"meta.@odata\.nextLink")
    ('meta', '@odata.nextLink')
    """
    keys = re.findall(r"(?:\\.|[^.\\])+", path)
    return tuple(re.sub(r"\\(.)", r"\1", key) for key in keys)
