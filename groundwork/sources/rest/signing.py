"""Requests signed by a function of the project, for APIs that want each one signed its own way."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from groundwork.catalog.auth import SignatureAuth
from groundwork.errors import CatalogError, SourceError
from groundwork.sources.rest.auth import Lookup, Outgoing, fits_header
from groundwork.sources.rest.redaction import Secrets

Hook = Callable[[Outgoing, Mapping[str, str], Mapping[str, str]], Mapping[str, str]]


class SigningFailed(SourceError):
    """The project's own function could not sign a request. Trying again changes nothing."""


class Signed:
    """A `Credential` that asks the hook for each request, each attempt and each redirect."""

    def __init__(self, auth: SignatureAuth, lookup: Lookup, where: str) -> None:
        """Find the function and what it signs with.

        Raises:
            CatalogError: when there is no such function.
            SettingMissing: when a secret has no value.
        """
        self._name, self._where = auth.hook, f"{where}: connection.auth.hook"
        self._hook = _find(auth.hook, self._where)
        self._keys = {name: lookup(named) for name, named in auth.secrets.items()}
        self._options = {name: lookup(value) for name, value in auth.options.items()}
        self._secrets: Secrets = lookup.secrets

    @property
    def renew_on(self) -> Collection[int]:
        """None: the same keys would sign again."""
        return ()

    async def sign(self, outgoing: Outgoing) -> Mapping[str, str]:
        """The headers that the hook returns."""
        failed: BaseException | None = None
        headers: Any = None
        try:
            headers = self._hook(outgoing, self._keys, self._options)
        except Exception as error:
            failed = error
        if failed is not None:
            raise SigningFailed(
                self._where, f"'{self._name}' raised {type(failed).__name__}", fix="mend the function"
            ) from self._secrets.safe_cause(failed)
        if not isinstance(headers, Mapping) or not all(
            isinstance(text, str) and fits_header(text) for pair in headers.items() for text in pair
        ):
            raise SigningFailed(
                self._where, f"'{self._name}' returned no headers",
                why="it must return a mapping of names to texts without line breaks",
                fix="mend the function",
            )  # fmt: skip
        for name, text in headers.items():
            if len(text) > _SHORTEST:
                self._secrets.add_passing(text)
            # in 'HMAC id=…, signature=…' the parts are secret, too
            for part in text.replace(",", " ").split() if name.lower() == "authorization" else ():
                if len(value := part.partition("=")[2] or part) > _SHORTEST:
                    self._secrets.add_passing(value)
        return headers

    async def refused(self, status: int, signature: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Nothing is newer: the same keys would sign again."""
        return False

    async def close(self) -> None:
        """Nothing is open."""


_SHORTEST = 15
"""Characters: what is shorter is a date or the name of a method, not a signature."""


def _find(name: str, where: str) -> Hook:
    module, _, function = name.partition(":")
    problem, cause = "", None
    found: Any = None
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ImportError as error:
        problem, cause = f"'{module}' cannot be imported", error
    else:
        problem = "" if callable(found) else f"'{module}' has no function '{function}'"
    if problem:
        raise CatalogError(where, problem, fix="write it in the package signing/ of the project") from cause
    hook: Hook = found
    return hook
