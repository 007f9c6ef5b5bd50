"""Spellings of addresses that lead elsewhere for some program, drawn at random from known tricks."""

from __future__ import annotations

import random

_SCHEMES = [
    "",
    "",
    "",
    "http:",
    "http:",
    "HTTP:",
    "hTtP:",
    "https:",
    "ws:",
    "ftp:",
    "file:",
    "javascript:",
    "data:",
    "blob:http:",
    "http:http:",
    "view-source:http:",
    "ht\ttp:",
    "http ",
    "\x00http:",
]
_SLASHES = [
    "//",
    "//",
    "//",
    "/",
    "///",
    "////",
    "",
    "\\\\",
    "/\\",
    "\\/",
    "/\t/",
    "/\n/",
    "/./",
    "/.//",
    "/..//",
    "/x/..//",
    "/x/.././/",
    "/%2e//",
    "/%2e%2e//",
    "/%2F",
    "/%2f%2f",
    "%2f%2f",
    "/%5c",
    "／／",
    "⁄⁄",
    "/ /",
    ".//",
    "..//",
    "../..//",
    "?//",
    "#//",
    ";//",
    "/;//",
    "//?//",
    "/\x0b/",
]
_BETWEEN = [
    "",
    "",
    "",
    "/",
    "\\",
    "?",
    "#",
    ";",
    "&",
    "%00",
    "%20",
    "%0d%0a",
    "\t",
    " ",
    "@",
    ":",
    ".",
    "..",
    "%40",
]
_TAILS = [
    "",
    "/",
    "/steal",
    "/steal?x=1",
    "?x=1",
    "#x",
    "//",
    "/..",
    "/../..//steal",
    "\\steal",
    "/steal\\..",
    ";x",
]


def netlocs(rng: random.Random, port: int) -> str:
    """A host and port of somebody on loopback, or of the wide world, in one of many spellings."""
    host = rng.choice(
        [
            "127.0.0.1",
            "127.0.0.1",
            "127.0.0.1",
            "127.0.0.2",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "127.1",
            "127.0.0.1.",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.000.000.001",
            "0",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:0:0:1]",
            "[::1%25lo]",
            "[::1",
            "::1",
            "[]",
            "[v1.x]",
            "１２７.0.0.1",
            "127。0。0。1",
            "127.0.0.1%00",
            "127%2e0%2e0%2e1",
            "evil.example",
            "EVIL.example",
            "evil.example.",
            "evil。example",
            "ｅvil.example",
            "xn--vil-0na.example",
            "bücher.example",
            "xn--",
            "-.example",
            "a" * 70 + ".example",
            "evil_.example",
            "ev il.example",
            "evil.example\t",
            "",
            ".",
        ]
    )
    end = rng.choice(
        [f":{port}"] * 8
        + [
            "",
            ":",
            ":0",
            ":80",
            ":443",
            f":0{port}",
            f":{port}0",
            ":99999999",
            f":+{port}",
            f":-{port}",
            f": {port}",
            ":８０",
            f":{port}:80",
            ":x",
            f"%3a{port}",
        ]
    )
    return host + end


def drawn(rng: random.Random, base: str, port: int) -> str:
    """One spelling.

    Args:
        rng: draws it.
        base: address of the API, without a slash at its end.
        port: where the thief listens on 127.0.0.1.
    """
    ours, theirs = base.partition("://")[2], netlocs(rng, port)
    user = rng.choice(
        ["", "", "", "", "u:p@", "@", ":@", f"{ours}@", f"{ours}\\@", f"{ours}%40", f"{ours}:80@"]
    )
    between = rng.choice(_BETWEEN)
    text = rng.choice(
        [
            lambda: rng.choice(_SCHEMES) + rng.choice(_SLASHES) + user + theirs,
            lambda: base + rng.choice(_SLASHES) + theirs,
            lambda: f"http://{theirs}{between}{ours}",
            lambda: f"http://{ours}{between}{theirs}",
            lambda: f"http://{user}{ours}{between}@{theirs}",
            lambda: f"http://{theirs}{between}@{ours}",
            lambda: base + between + rng.choice(_SLASHES) + user + theirs,
            lambda: rng.choice(_SLASHES) + rng.choice(_SLASHES) + theirs,
            lambda: f"/v1/books?next={rng.choice(_SCHEMES)}//{theirs}",
            lambda: between + theirs,
        ]
    )()
    text += rng.choice(_TAILS)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 4])):
        at = rng.randrange(len(text) + 1)
        piece = rng.choice(
            ["/", "\\", "@", ":", "\t", "\n", "\r", " ", "#", "?", "%", "[", "]", "\x00", ".", "\u2028", "é"]
        )
        text = text[:at] + piece + text[at + rng.choice([0, 0, 1]) :]
    return text
