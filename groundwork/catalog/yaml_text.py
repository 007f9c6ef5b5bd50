"""A catalog file's YAML as plain data, built from libyaml's events: a fifth of PyYAML's time for large files.

What is not plain (anchors, tags, keys that are not scalars, several documents) is left to PyYAML itself, so
that the data is what `yaml.safe_load` gives. One thing is stricter: a key that is there twice is refused,
because the first of the two would be dropped without a word.
"""

from __future__ import annotations

from typing import Any, cast

import yaml
from yaml.constructor import ConstructorError
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

_STRING = "tag:yaml.org,2002:str"


class _NotPlain(Exception):
    pass


def read_yaml(text: str) -> Any:
    """The data of one YAML document; None when there is none.

    Raises:
        yaml.YAMLError: when it is no YAML, or a key is there twice; ``problem_mark`` says where.
        ValueError: when a date cannot be.
    """
    if not yaml.__with_libyaml__:
        return yaml.safe_load(text)
    reading = _Reading(text)
    try:
        return reading.document()
    except _NotPlain:
        return yaml.safe_load(text)
    finally:
        reading.parser.dispose()


class _Reading:
    def __init__(self, text: str) -> None:
        self.parser: Any = yaml.CSafeLoader(text)
        self._next = self.parser.get_event
        self._known: dict[str, Any] = {}
        """Plain scalars by how they are written: what `no`, `1` or `2024-02-29` mean."""

    def document(self) -> Any:
        self._next()
        begin = self._next()
        if isinstance(begin, StreamEndEvent):
            return None
        if not isinstance(begin, DocumentStartEvent):
            raise _NotPlain
        data = self._value(self._next())
        if not isinstance(self._next(), DocumentEndEvent) or not isinstance(self._next(), StreamEndEvent):
            raise _NotPlain
        return data

    def _value(self, event: Any) -> Any:
        if type(event) is ScalarEvent:
            return self._scalar(event)
        if event.anchor or event.tag:  # an alias has an anchor and no tag
            raise _NotPlain
        if type(event) is MappingStartEvent:
            return self._mapping()
        if type(event) is SequenceStartEvent:
            return self._sequence()
        raise _NotPlain

    def _mapping(self) -> dict[Any, Any]:
        data: dict[Any, Any] = {}
        while type(event := self._next()) is not MappingEndEvent:
            if type(event) is not ScalarEvent or event.value == "<<":
                raise _NotPlain
            key = self._scalar(event)
            if key in data:
                problem, mark = f"key {event.value!r} is there twice", cast(Any, event.start_mark)
                raise ConstructorError(None, None, problem, mark)
            data[key] = self._value(self._next())
        return data

    def _sequence(self) -> list[Any]:
        data = []
        while type(event := self._next()) is not SequenceEndEvent:
            data.append(self._value(event))
        return data

    def _scalar(self, event: Any) -> Any:
        if event.anchor or event.tag:
            raise _NotPlain
        text = event.value
        if not event.implicit[0]:
            return text
        if text not in self._known:
            tag = self.parser.resolve(yaml.ScalarNode, text, (True, False))
            node = yaml.ScalarNode(tag, text, event.start_mark, event.end_mark)
            self._known[text] = text if tag == _STRING else self.parser.construct_object(node)
        return self._known[text]
