"""Prefect's API as it speaks: bodies of answers, unparsed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.run_history import Ask


@contextmanager
def asking() -> Iterator[Ask]:
    """A way to ask the API of this process's settings; Prefect's client adds key, retries and limits.

    Raises:
        SourceUnreachable: when there is no answer.
        AnswerUnusable: when the API refuses.
    """
    import httpx
    from prefect.client.orchestration import get_client

    from groundwork.errors import AnswerUnusable, SourceUnreachable

    with get_client(sync_client=True) as client:
        where = f"Prefect's API {client.api_url}"

        def ask(path: str, question: dict[str, Any]) -> bytes:
            try:
                return client.request("POST", path, json=question).content  # type: ignore[arg-type]
            except httpx.HTTPStatusError as error:
                code = error.response.status_code
                raise AnswerUnusable(f"{where}{path}", f"answered {code}") from error
            except httpx.HTTPError as error:
                raise SourceUnreachable(
                    where, "does not answer", fix="check PREFECT_API_URL and the server"
                ) from error

        yield ask


def send_log_lines() -> None:
    """Send this process's waiting log lines now (they go every 2 s), and let their second end."""
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    time.sleep(1.0 - time.time() % 1.0)
