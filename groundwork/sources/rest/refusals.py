"""What an answer other than 2xx means: a failure that may pass, or an error now.

Nothing here quotes what the server said: an answer may hold records, or our own token. The error codes of
OAuth2 are the exception, because they are a fixed list (RFC 6749 §5.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from groundwork.catalog.rest import RestRateLimit
from groundwork.errors import SourceRefused
from groundwork.sources.rest.limits import limit_of

_PASSING = {408, 425, 500, 502, 503, 504, *range(520, 531)}
"""Statuses that say "try again"; 520 to 530 are Cloudflare's."""

_OAUTH_CODES = {
    *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
    *("unsupported_grant_type", "invalid_scope", "access_denied", "server_error", "temporarily_unavailable"),
}


class Refused(SourceRefused):
    """A refusal whose status is known, so that a lost position can be told from a wrong path."""

    def __init__(self, status: int, where: str, what: str, *, why: str = "", fix: str = "") -> None:
        """Keep the status."""
        super().__init__(where, what, why=why, fix=fix)
        self.status = status
        self.code = ""
        """OAuth2's word for what is wrong, where a token was asked for."""

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling as a plain `SourceRefused`."""
        return (_as_refused, (self.where, self.what, self.why, self.fix))


def _as_refused(where: str, what: str, why: str, fix: str) -> SourceRefused:
    return SourceRefused(where, what, why=why, fix=fix)


@dataclass
class Failure:
    """Why an attempt brought nothing, and what that means for the next."""

    what: str
    sent: bool = True
    """The server may have acted on the request."""
    cut_off: bool = False
    limited: bool = False
    """The server refused because we ask too often."""
    wait: float | None = None
    cause: BaseException | None = None
    refused: Refused | None = None
    """What to raise, unless a newer signature helps."""
    signature: Mapping[str, str] | None = field(default=None, repr=False)
    """What the refused request was signed with."""


def failure_of(
    status: int, headers: Mapping[str, str], where: str, declared: RestRateLimit | None = None
) -> Failure:
    """What a status other than 2xx means.

    Args:
        status: of the answer.
        headers: of the answer; what they are called counts in any case of letters.
        where: the request it is about.
        declared: the headers by which this API tells its limits, beside the common ones.
    """
    said = f"status {status}"
    limit = limit_of(headers, datetime.now(UTC), declared)
    # 403 is GitHub's way of saying 429; a reset alone stands in answers of every kind
    if status == 429 or (status in (403, 503) and (limit.spent or limit.retry_after is not None)):
        return Failure(said, limited=True, wait=limit.wait)
    if status in _PASSING:
        return Failure(said, wait=limit.retry_after)
    if status in (401, 407):
        what, fix = "the API does not know us", "check the secret that connection.auth names"
    elif status == 403:
        what, fix = "the API does not let us read this", "check the rights of the token"
    elif status in (404, 410):
        what = "the API knows no such path"
        fix = "check the stream's endpoint and the path in connection.base_url"
    elif status in (400, 422):
        what = "the API does not accept the request"
        fix = "check parameters, paging and cursor of the stream against the API's manual"
    elif status >= 500:
        what, fix = "the API failed", "tell its owner; trying again does not help"
    else:
        what, fix = "the API refuses", "look the status up in the API's manual"
    return Failure(said, refused=Refused(status, where, f"{what} ({said})", fix=fix))


def oauth_code(body: bytes) -> str:
    """The error code in a token endpoint's answer, if it is one of the standard's."""
    try:
        said = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return ""
    code = said.get("error") if isinstance(said, dict) else None
    return code if isinstance(code, str) and code in _OAUTH_CODES else ""
