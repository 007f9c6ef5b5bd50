"""A bucket whose caller is killed at a chosen call, before or after it takes effect."""

from __future__ import annotations

from typing import Any

from groundwork.bucket import Bucket

CHANGES = ("put", "put_if_absent", "replace", "delete", "purge")


class Killed(BaseException):
    """What a kill is to those who clean up: nothing they may catch."""


class MortalBucket:
    """Passes everything on, until it is time to die."""

    def __init__(self, bucket: Bucket, dies_at: int, after: bool) -> None:
        self._bucket, self._dies_at, self._after = bucket, dies_at, after
        self.url = bucket.url
        self.changes = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._bucket, name)
        if name not in CHANGES:
            return method

        def call(*arguments: Any) -> Any:
            self.changes += 1
            if self.changes == self._dies_at and not self._after:
                raise Killed
            answer = method(*arguments)
            if self.changes == self._dies_at:
                raise Killed
            return answer

        return call
