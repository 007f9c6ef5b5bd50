"""Names that something on the way could take for more than a name, and how to draw more of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from groundwork.catalog.names import column_problem, folded

SECRET = "postgresql://shop:s3cr3t-4711@example.com/shop"
VARIABLE = "SHOP_DATABASE_URL"

YAML = r"""
no|yes|on|off|y|n|null|~|true|false|1e3|0x1|0o7|1_000|2024-01-01|12:30:45|.inf|.nan|-|--|---|...|?|:|&|*|!|%|@|`|#
,|[|]|{|}|>|=|<<|- a|? a|a: b|a #b|!!python/object:os.system|&a|*a|%YAML 1.2|key: [| |   |a: |: a|- | #
""".strip("\n")
JINJA = r"""
{{ env_var('SHOP_DATABASE_URL') }}|{{env_var('SHOP_DATABASE_URL')}}|env_var('SHOP_DATABASE_URL')
  env_var ( 'SHOP_DATABASE_URL' ) |{%- set a = env_var('SHOP_DATABASE_URL') -%}{{ a }}
{{ '{{' }} env_var('SHOP_DATABASE_URL') }}|{{ 1 / 0 }}|{% raw %}|{% endraw %}|{# gone #}|{{|}}|{%|%}|{#|#}
{{ doc('x') }}|source('a', 'b')|var('landing_schema')|ref('x')|{% endmacro %}|{{ exceptions.warn('x') }}
""".strip("\n")
SQL = r"""
select|from|order|group|table|user|current_user|values|a b|a;b|a'b|''|a--b|/* a */|a/*|*/|\|\'|a\|$1|$$|?|:a
%s|%(a)s|a.b|No.
.a|a.|x'; drop table t; --|1|1a|9lives|a::int|[1]|(a)|`a`|$dollar|@odata.id|_|__|a\u0041|\x41|\0
""".strip("\n")
MARKUP = r"""
..|../..|/etc/passwd|a/b|C:\x|~|~1|a~b|*|a*b|con|<script>alert(1)</script>|<b>|&amp;|[a](javascript:b)|**a**|`
=?utf-8?q?a?=|=cmd' /C calc'!A0|{'a': 1}|a </title>|a --> b|![a](b)|https://example.com/a|a@example.com
""".strip("\n")
LETTERS = [
    *"äİŉ😀\u200f\u200b\ufeff\u2028\u2029\x85\x7f\x01\n\r\ue000\uffff\U0010ffff|",
    "日本",
    "👩‍👩‍👧",
    "\u202eabc",
]
LETTERS += ["e\u0301x", "\U0001f1e9\U0001f1ea", "\x1b[31mred", "a|b", "a\x85b", "a\nb", "a\n\n b", "a\r\nb"]
LETTERS += ["\ttab\there", "a ", " a", "a\n", "a\u00a0b", "Subject: a\r\nBcc: x@example.com"]
LETTERS += ["x" * 255, "ö" * 200, "\U0010ffff" * 255]
HOSTILE = [
    name for text in (YAML, JINJA, SQL, MARKUP) for line in text.split("\n") for name in line.split("|")
]
HOSTILE += LETTERS

_PIECES = [*HOSTILE, *"abcAB01 _-.,:;'`~!@#$%^&*()[]{}<>/\\|?=+ß\n\r\t", "{{", "}}", "{%", "%}", "{#", "#}"]


def drawn(count: int, seed: int) -> list[str]:
    """Names glued together from hostile pieces, the same for the same seed."""
    chance = Random(seed)
    return ["".join(chance.choice(_PIECES) for _ in range(chance.randint(1, 4)))[:255] for _ in range(count)]


def fit(names: Sequence[str]) -> list[str]:
    """Those that the catalog accepts, each once."""
    kept: dict[str, str] = {}
    for name in names:
        if not column_problem(name):
            kept.setdefault(folded(name), name)
    return list(kept.values())
