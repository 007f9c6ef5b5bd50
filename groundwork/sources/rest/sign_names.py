"""Names by which APIs commonly say that more records follow, as expressions over letters and digits only.

Each name is compared in lower case and without punctuation: ``hasMore`` and ``has_more`` are ``hasmore``,
``@odata.nextLink`` is ``odatanextlink``.
"""

from __future__ import annotations

import re

_THINGS = "(?:records?|results?|items?|rows?|entries|elements?|hits|objects?|matches|documents?|data|pages?)"

MORE = re.compile(
    rf"(?:has|have|is|are)?(?:more|next|further|additional|remaining){_THINGS}?(?:available|exists?|tofetch)?"
    r"|(?:is)?(?:truncated|incomplete|partial)(?:results?|response)?|incompleteresults"
)
"""A flag that is true where more follows."""

END = re.compile(
    rf"(?:is|at)?(?:the)?(?:end|last|final)(?:of)?(?:the)?(?:stream|list|{_THINGS})?(?:reached)?"
    rf"|(?:is|all)?(?:done|exhausted|finished|completed?)|no(?:more|next){_THINGS}?"
)
"""A flag that is false where more follows."""

WAY = re.compile(
    rf"(?:odata|page|paging|pagination|cursor|links?|hydra)?next(?:{_THINGS}|link|ur[il]|href|path|token|cursor|mark"
    r"|marker|offset|start|index|skip|key|id|params|parameters|query|request|set|batch|continuation|partition"
    r"|number|from|after|position|str)*"
    r"|(?:page|x|ms)*continu(?:e|ation)(?:token|ur[il]|link|key|cursor|id)?"
    r"|cursor|(?:page|pagination)cursor|paginationtoken|lastevaluatedkey|iterationtoken|more(?:link|ur[il])?"
)
"""A link, cursor, number or object that leads to the next page."""

RECORDS = re.compile(
    rf"(?:odata|grand|overall|full)?(?:total|found)(?:(?:number|count|size|length|available|of|found)|{_THINGS})*"
    rf"|(?:odata|result|results|record|records|item|items|row|rows|hit|hits|entry|element|elements)?count(?:total)?"
    rf"|num(?:ber)?(?:of|found)?(?:{_THINGS}|found|total)|(?:records|items|results|hits)(?:total|filtered|found)"
)
"""How many records there are in all."""

PAGES = re.compile(
    r"(?:total|num|number|numberof|max|last|count)(?:of)?pages?(?:count|number)?|pages(?:total|count)?|pagecount|pagetotal"
)
"""How many pages there are, or the number of the last one."""

AROUND = re.compile(
    r"(?:meta|metadata|paging|pagination|pager|paginator|page|pages|pageinfo|cursors?|links?|nav|navigation|d|feed"
    r"|info|data|header|headers|envelope|hits|total|totals|counts|summary|search|query|batch|listmeta|collection"
    r"|(?:response|results?|search|query|list|resultset|collection|page)(?:meta|metadata|info|set|summary|header)?"
    r")"
)
"""Objects beside the records whose counts are those of the records."""

OTHER_COUNTS = re.compile(r"limit|quota|timing|bytes|length|size|cost|elapsed|duration|retry|version|per")
"""Parts of a header's name that say that it counts something else than records."""


def letters(text: str) -> str:
    """A name as it is compared."""
    return re.sub(r"[\W_]", "", text).lower()
