"""Dotted paths into JSON, as the catalog writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass


def split_path(path: str) -> tuple[str, ...]:
    r"""The keys of a dotted path; ``\.`` is a dot within a key.

    >>> split_path(r"meta.@odata\.nextLink")
    ('meta', '@odata.nextLink')
    """
    keys = re.findall(r"(?:\\.|[^.\\])+", path)
    return tuple(_plain(key) for key in keys)


@dataclass(frozen=True)
class Match:
    """The first element of a list whose value at some keys is a text."""

    keys: tuple[str, ...]
    value: str


Step = str | int | Match
"""A key of an object, a place in a list (from its end when negative), or an element with a value."""

_PART = re.compile(r"((?:\\.|[^.\\\[\]])*)((?:\[[^\]]*\])*)(\.|$)")


def answer_steps(path: str) -> tuple[Step, ...]:
    r"""The steps of a path that may lead through lists; ``\.``, ``\[`` and ``\]`` belong to a key.

    >>> answer_steps("link[relation=next].url")
    ('link', Match(keys=('relation',), value='next'), 'url')
    >>> answer_steps("[1]")
    (1,)

    Raises:
        ValueError: when it is no such path.
    """
    steps: list[Step] = []
    place, more = 0, True
    while more:
        part = _PART.match(path, place)
        if part is None or not (part[1] or part[2]) or (not part[1] and steps):
            raise ValueError(
                "is no path: keys with dots between them, e.g. data.items; in a list [0], [-1] or [key=value]"
            )
        steps += [_plain(part[1])] if part[1] else []
        steps += [_selector(text) for text in re.findall(r"\[([^\]]*)\]", part[2])]
        place, more = part.end(), part[3] == "."
    return tuple(steps)


def leading_keys(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The keys before the first list."""
    keys: list[str] = []
    for step in steps:
        if not isinstance(step, str):
            break
        keys.append(step)
    return tuple(keys)


def _selector(text: str) -> Step:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    keys, equals, value = text.partition("=")
    if not (keys and equals):
        raise ValueError(f"[{text}]: in a list [0], [-1] or [key=value]")
    return Match(split_path(keys), value.strip("'\""))


def _plain(key: str) -> str:
    return re.sub(r"\\(.)", r"\1", key)
