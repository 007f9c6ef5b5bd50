"""How tests write into a server: by its own API, not by our reader."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any


def call(method: str, url: str, body: Any = None, basic: str = "", **headers: str) -> Any:
    """One request with JSON, or bytes as they are; the answer's JSON, or its text."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    if basic:
        headers["Authorization"] = "Basic " + base64.b64encode(basic.encode()).decode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers, method=method)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        text = answer.read().decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def answers(url: str, **headers: str) -> bool:
    """Whether a server is there."""
    try:
        call("GET", url, **headers)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
