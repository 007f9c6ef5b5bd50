"""Discover: where an API is and how it knows its callers, by an OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yarl import URL

from groundwork.discovery.drafting import Guess, Undecided

Follow = Callable[[Any], dict[str, Any]]
"""What a part of the document means, its references followed."""


def connection(top: Mapping[str, Any], follow: Follow, source: str, origin: str) -> dict[str, Any]:
    """The ``connection`` of a draft.

    Args:
        top: the document.
        follow: follows its references.
        source: name of the new source, after which secrets are named.
        origin: where the document is from: a URL, to which servers may be relative, or a file.
    """
    url = _server(top, origin)
    base = Guess(url, "the first server") if url else Undecided("the document names no server; write its URL")
    auth, headers = _auth(top, follow, source, url)
    return {"base_url": base, "auth": auth, **({"headers": headers} if headers else {})}


def _server(top: Mapping[str, Any], origin: str) -> str:
    servers = top.get("servers") or [{}]
    url = str(servers[0].get("url") or "")
    for name, variable in (servers[0].get("variables") or {}).items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    if "host" in top:
        url = f"{(top.get('schemes') or ['https'])[0]}://{top['host']}{top.get('basePath', '')}"
    if "://" not in url:
        url = str(URL(origin).join(URL(url))) if "://" in origin else ""
    return url.rstrip("/")


def _auth(
    top: Mapping[str, Any], follow: Follow, source: str, base: str
) -> tuple[Guess | Undecided, dict[str, Any]]:
    """How the API knows its callers, and the headers that it wants beside that."""
    named = top.get("securityDefinitions") or (top.get("components") or {}).get("securitySchemes") or {}
    schemes = {name: follow(scheme) for name, scheme in named.items()}
    if not schemes:
        return Undecided("the document names no auth; write {kind: none} if the API asks for none"), {}
    for ways in _alternatives(top, schemes):
        found = _together([schemes.get(name, {}) for name in ways], source, base)
        if found:
            auth, headers = found
            return Guess(auth, f"the document's scheme {' and '.join(ways)}"), headers
    kinds = ", ".join(f"{name} ({_said(scheme)})" for name, scheme in schemes.items())
    why = f"the document's schemes need a person, or are none that we know: {kinds}"
    return Undecided(f"{why}; see 'Auth' in docs/rest-sources.md"), {}


def _alternatives(top: Mapping[str, Any], schemes: Mapping[str, Any]) -> list[list[str]]:
    """The sets of schemes of which one is enough, as the document or its first secured path says."""
    wanted = top.get("security")
    for item in () if wanted else (top.get("paths") or {}).values():
        operation = item.get("get") if isinstance(item, dict) else None
        wanted = wanted or (operation.get("security") if isinstance(operation, dict) else None)
    if wanted:
        return [list(one) for one in wanted if isinstance(one, dict) and one]
    return [[name] for name in schemes]


def _together(
    schemes: list[Mapping[str, Any]], source: str, base: str
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Schemes that the API wants together: one as ``auth``, keys as headers; None if that cannot be said."""
    name = source.replace("_", "-")
    # a key in a header can be said beside another way, so it is the last to be the auth
    first, *others = sorted(schemes, key=_is_header_key)
    auth = _one(first, name, base)
    if auth is None or not all(_is_header_key(scheme) for scheme in others):
        return None
    headers = [str(scheme.get("name")) for scheme in others]
    return auth, {header: {"secret": f"{name}-{header.lower()}"} for header in headers}


def _is_header_key(scheme: Mapping[str, Any]) -> bool:
    return scheme.get("type") == "apiKey" and scheme.get("in") == "header"


def _one(scheme: Mapping[str, Any], name: str, base: str) -> dict[str, Any] | None:
    """One scheme as ``auth``; None if it is none of ours."""
    kind, token = scheme.get("type"), {"secret": f"{name}-token"}
    way = str(scheme.get("scheme")).lower()
    if kind == "apiKey" and scheme.get("in") in ("header", "query"):
        return {"kind": "api_key", "in": scheme["in"], "name": scheme.get("name"), "token": token}
    if kind == "basic" or (kind == "http" and way == "basic"):
        user = {"variable": f"{name}-user"}
        return {"kind": "basic", "username": user, "password": {"secret": f"{name}-password"}}
    if kind == "http" and way == "bearer":
        return {"kind": "bearer", "token": token}
    if kind == "oauth2":
        # Swagger 2 calls it 'application'
        in_flows = (scheme.get("flows") or {}).get("clientCredentials")
        return _client_credentials(scheme if scheme.get("flow") == "application" else in_flows, name, base)
    return None


def _client_credentials(flow: Mapping[str, Any] | None, name: str, base: str) -> dict[str, Any] | None:
    url = str((flow or {}).get("tokenUrl") or "")
    if url and "://" not in url:
        url = str(URL(base).join(URL(url))) if base else ""
    if not flow or not url:
        return None
    scopes = " ".join(flow.get("scopes") or ())
    return {
        "kind": "oauth2_client_credentials",
        "token_url": url,
        "client_id": {"variable": f"{name}-client-id"},
        "client_secret": {"secret": f"{name}-client-secret"},
        **({"scope": scopes} if scopes else {}),
    }


def _said(scheme: Mapping[str, Any]) -> str:
    """What a scheme is called in the document."""
    flows = ", ".join(scheme.get("flows") or ())
    detail = flows or scheme.get("flow") or scheme.get("scheme") or scheme.get("in") or ""
    return f"{scheme.get('type')} {detail}".strip()
