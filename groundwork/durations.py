"""Durations as the catalog writes them: ``5 minutes``, ``1 hour``, ``2 days``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}


def _duration(value: Any) -> Any:
    match = re.fullmatch(r"(\d+) (second|minute|hour|day|week)s?", str(value))
    if not match or int(match[1]) == 0:
        raise ValueError("is not a duration: write for example '5 minutes', '1 hour' or '2 days'")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+ (second|minute|hour|day|week)s?$"}),
]
