"""The page about HTTP APIs: its examples are read, and no word of the catalog is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from groundwork.catalog import RestSource, RestStream
from groundwork.catalog.rest import RestConnection

PAGE = (Path(__file__).parents[2] / "docs" / "rest-sources.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)]
WHOLE, PARTS = EXAMPLES[0], EXAMPLES[1:]


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """A model and all that its fields are made of."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models(field.annotation)
    for inner in get_args(kind):
        yield from models(inner)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"example {n}" for n, _ in enumerate(EXAMPLES, 1)])
def test_every_example_of_the_page_is_a_page_of_the_catalog(example: dict[str, Any]) -> None:
    assert example.keys() <= WHOLE.keys()
    RestSource.model_validate({**WHOLE, **example})


def test_every_word_of_the_catalog_stands_on_the_page() -> None:
    words = {
        field.alias or name
        for model in (*models(RestConnection), *models(RestStream))
        for name, field in model.model_fields.items()
    } - {"variable"}
    missing = {word for word in words if not re.search(rf"`{word}[`:]|\b{word}: ", PAGE)}
    missing -= {word for word in missing if f"\n    {word}:\n" in PAGE or f"\n      {word}:\n" in PAGE}
    # those of every source stand in add-a-source.md
    assert missing - {"description", "pii", "deprecated"} == set()


def test_every_kind_of_auth_and_of_paging_has_an_example() -> None:
    kinds = {kind for model in models(RestSource) for kind in _kinds(model)} - {"rest"}
    assert {kind for kind in kinds if f"kind: {kind}" not in PAGE} <= {"single_page"}


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()
