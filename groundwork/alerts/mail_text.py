"""Text as a mail can carry it: headers of one line, valid addresses, bodies without control characters.

Names and messages come from outside (deployments, sources, databases); here each is made fit for a mail.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from email.utils import formataddr, parseaddr

from groundwork.mail_address import one_address

LONGEST_HEADER = 200
_TURNS_TEXT_ROUND = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Control characters of bidirectional text: a name that holds them shows as another."""


def body_text(text: str) -> str:
    """A text of several lines without control characters and without halves of surrogate pairs."""
    return "".join(map(_fit, text.replace("\r\n", "\n").replace("\r", "\n")))


def line_text(text: str) -> str:
    """The same in one line."""
    return " ".join(body_text(text).split())


def header_text(text: str) -> str:
    """A header's value: one line, and not so long that a server refuses it."""
    line = line_text(text)
    return line if len(line) <= LONGEST_HEADER else f"{line[: LONGEST_HEADER - 1]}…"


def ascii_text(text: str) -> str:
    """A header's value for programs: ASCII only."""
    return header_text(text).encode("ascii", "replace").decode()


def addresses(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """What can be written to, without repetition, and what cannot."""
    good: dict[str, None] = {}
    bad: list[str] = []
    for text in texts:
        try:
            good[one_address(text)] = None
        except ValueError:
            bad.append(line_text(text))
    return list(good), bad


def listed_addresses(text: str) -> list[str]:
    """The addresses of a setting, separated by commas, each with or without a name: ``Team <team@x.org>``."""
    parts = [part.strip() for part in text.split(",")]
    return [parseaddr(part)[1] or part for part in parts if part]


def sender_text(text: str, otherwise: str) -> str:
    """Who a mail is from: an address, with or without a name.

    Args:
        text: the setting.
        otherwise: the address that is taken when the setting holds none.
    """
    name, address = parseaddr(line_text(text))
    try:
        return formataddr((name.replace("=?", ""), one_address(address)))
    except ValueError:
        return otherwise


def _fit(one: str) -> str:
    if one in "\n\t":
        return one
    bad = unicodedata.category(one) in ("Cc", "Cs") or ord(one) in _TURNS_TEXT_ROUND
    return "\N{REPLACEMENT CHARACTER}" if bad else one
