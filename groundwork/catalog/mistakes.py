"""What is wrong in a catalog file, in its reader's words: the place, the mistake, and what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def guess(word: str, known: list[str]) -> str:
    """The end of a message: what was meant; empty when nothing known is close."""
    # 'order_id' of a table 'orders' is more often its 'id' than a 'customer_id'
    close = [name for name in known if word.endswith(f"_{name}")]
    close = close or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f". Did you mean '{close[0]}'?" if close else ""


def first_mistake(file: Path, model: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    """Where and what, in the reader's words instead of the validator's."""
    mistake = error.errors(include_url=False)[0]
    place, models = _follow(model, mistake["loc"])
    text = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "missing":
        text = "is missing"
    elif mistake["type"] == "extra_forbidden":
        known = _keys(_follow(model, mistake["loc"][:-1])[1])
        text = f"is not a key here ({', '.join(known)}){guess(place[-1], known)}"
    elif mistake["type"] in ("union_tag_invalid", "union_tag_not_found"):
        known = [kind for one in models for kind in _kinds_of(one)]
        said = mistake.get("ctx", {}).get("tag")
        what = f"'{said}' is not a kind of {place[-1]}" if said else f"is missing: which kind of {place[-1]}"
        text = f"{what} ({', '.join(known)}){guess(said or '', known)}"
        place.append("kind")
    elif mistake["type"] == "value_error" and re.match(r"[a-z_]+(\.\w+)?: ", text):
        inner, text = text.split(": ", 1)
        place.append(inner)
    return f"{file}: {'.'.join(place)}", text


def _follow(model: Any, path: tuple[int | str, ...]) -> tuple[list[str], list[Any]]:
    """A place as it is written, without the validator's own words, and the models allowed there."""
    place: list[str] = []
    models = [model]
    for part in path:
        if part in ("Named", "str", "int", "bool"):
            continue
        chosen = [one for one in models if part in _kinds_of(one)]
        if chosen and len(models) > 1:  # the kind that was said, not a key
            models = chosen
            continue
        place.append(str(part))
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        below = [kind for f in fields for kind in (f.annotation, *_inner(f.annotation))]
        models = [kind for kind in below if hasattr(kind, "model_fields")] or models
    return place, models


def _kinds_of(model: Any) -> list[str]:
    kind = model.model_fields.get("kind")
    return list(get_args(kind.annotation)) if kind else []


def _keys(models: list[Any]) -> list[str]:
    return [f.alias or name for name, f in models[-1].model_fields.items()]


def _inner(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _inner(argument)
