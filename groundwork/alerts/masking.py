"""What may leave the house in a mail: no secret, and no value of a row.

Our own messages hold neither (`groundwork.errors`). Those of databases, libraries and users' code may, so
what looks like a secret or like a person is masked, and so is every secret whose value is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ALWAYS = [
    (r"://([^:/@\s]*):[^@\s]+@", r"://\1:…@"),
    (
        r"(?i)\b(password|passwd|pwd|token|secret|api[_-]?key|authorization)(['\"]?\s*[=:]\s*)"
        r"(?:bearer\s+|basic\s+)?[^\s,;&]+",
        r"\1\2…",
    ),
    (r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", r"\1 …"),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", "…"),  # a JWT
    (r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b", "…"),  # an AWS key
    (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", "…@…"),
    (r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}\b", "…"),  # an IBAN
    (r"(?<![\w.-])\+\d[\d ()/-]{7,}\d\b", "…"),  # a telephone number
    (r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])", "…"),  # a card number
]  # fmt: skip

_QUOTED = [
    (r"'[^']*'", "'…'"),
    (r"(?i)(key \")[^\"]*\"", r'\1…"'),
    (r"(?i)(key \([^)]*\)=)\([^)]*\)", r"\1(…)"),
    (r"(?i)(Failing row contains )\(.*\)", r"\1(…)"),
]

LEAST_SECRET = 5
"""A known secret shorter than this is not looked for: it would be found in ordinary words."""


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without passwords, and without the values that databases quote in errors.

    Args:
        text: what is to be sent.
        secrets: values that must not be in it, whatever they look like.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= LEAST_SECRET:
            text = text.replace(secret, "…")
    for pattern, instead in _ALWAYS:
        text = re.sub(pattern, instead, text)
    if re.search(
        r"(?i)conver|cast|constraint|duplicate|violat|invalid (input|literal)|not recognized|parse", text
    ):
        for pattern, instead in _QUOTED:
            text = re.sub(pattern, instead, text)
    return text


def folded(line: str, rows: int = 4) -> str:
    """A log line without the middle of its traceback: how it begins, and the error it ends with."""
    parts = line.rstrip().splitlines()
    if len(parts) <= rows:
        return line
    return "\n".join([parts[0], f"    … {len(parts) - 2} lines, see the run …", f"    {parts[-1]}"])
