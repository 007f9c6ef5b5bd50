"""Dotted paths into JSON, as the catalog writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


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


def body_steps(name: str) -> tuple[str | int, ...]:
    r"""The steps to a place in a body that a parameter's name says; ``[0]`` after a key is a place in a list.

    >>> body_steps("filterGroups[0].filters[0].value")
    ('filterGroups', 0, 'filters', 0, 'value')
    """
    steps: list[str | int] = []
    for part in re.findall(r"(?:\\.|[^.\\])+", name):
        key, places = re.fullmatch(r"(.*?)((?:\[\d+\])*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        steps += [_plain(key)] if key else []
        steps += [int(place) for place in re.findall(r"\d+", places)]
    return tuple(steps)


def put(within: Any, steps: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a JSON value with another value at some steps; objects and lists on the way are made.

    Raises:
        ValueError: when the way leads through something that is no such object or list.
    """
    if not steps:
        return value
    step, *rest = steps
    if isinstance(step, str):
        if within is not None and not isinstance(within, dict):
            raise ValueError(f"'{step}' would be a key of something that is no object")
        copy = dict(within or {})
        copy[step] = put(copy.get(step), tuple(rest), value)
        return copy
    if within is not None and not isinstance(within, list):
        raise ValueError(f"[{step}] would be a place in something that is no list")
    items = list(within or [])
    if step > len(items):
        raise ValueError(f"[{step}] is not in the list, which has {len(items)} elements")
    items[step : step + 1] = [put(items[step] if step < len(items) else None, tuple(rest), value)]
    return items
