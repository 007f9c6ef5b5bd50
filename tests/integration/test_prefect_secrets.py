"""A flow run that goes well and one that fails: the token stands nowhere that anybody could read it.

Looked through are all tables of Prefect's own database (parameters, states, results, artifacts, log lines,
events), everything that its processes wrote to the disk, the bucket, and every mail.
"""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import asyncpg
import pytest
from aiohttp import web
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.variables import Variable

from demo.mailbox import Mailbox, MailServer
from demo.prefect_server import PrefectServer, PrefectWorker
from tests.integration.fault_api import Api, answer
from tests.integration.test_rest_secrets import everything_written

CANARY = "c4nary-of-payments/+ä"
FORMS = (
    CANARY, "c4nary", quote(CANARY), quote(CANARY, safe=""), quote_plus(CANARY),
    base64.b64encode(CANARY.encode()).decode().rstrip("=")[:-2], CANARY.encode("unicode_escape").decode(),
)  # fmt: skip


class Payments:
    """An API that repeats the token wherever an API may: in headers, links and what it says is wrong."""

    fails = True

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        told = request.headers["Authorization"]
        assert told == f"Bearer {CANARY}"
        if self.fails and request.path.endswith("refunds"):
            return answer({"error": f"bad token {told}"}, 403, **{"X-Echo": quote(told)})
        record = {"id": request.path, "updated_at": "2026-03-01T00:00:00Z"}
        page = {"data": [record], "has_more": False, "next_cursor": quote(told)}
        return answer(page, 200, **{"X-Echo": quote(told)})


@pytest.fixture
def payments(serve: Callable[..., Api], prefect_worker: PrefectWorker) -> Iterator[Payments]:
    handler = Payments()
    Secret(value=CANARY).save("payments-token", overwrite=True)  # type: ignore[call-arg]
    before = Variable.get("payments_url")
    Variable.set("payments_url", serve(handler).url, overwrite=True)
    yield handler
    Secret.delete("payments-token")
    if before is None:
        Variable.unset("payments_url")
    else:
        Variable.set("payments_url", before, overwrite=True)


def ingested() -> FlowRun:
    run = run_deployment("ingest/ingest-payments", timeout=180, poll_interval=0.5)
    assert isinstance(run, FlowRun) and run.state is not None
    return run


def everything_in(database_url: str) -> str:
    """Every row of every table, as text."""

    async def rows() -> list[str]:
        found = []
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        tables = await connection.fetch("select tablename from pg_tables where schemaname = 'public'")
        for (table,) in tables:
            lines = await connection.fetch(f'select to_jsonb(one)::text from "{table}" as one')
            found += [f"{table}: {line[0]}" for line in lines]
        await connection.close()
        return found

    return "\n".join(asyncio.run(rows()))


def everything_below(*places: Path) -> str:
    """Every file, packed ones unpacked, as text; Parquet as its rows."""
    texts = []
    for place in places:
        for file in place.rglob("*"):
            if not file.is_file() or file.is_symlink():
                continue
            content = file.read_bytes()
            try:
                content += zlib.decompress(content, wbits=47)
            except zlib.error:
                pass
            texts.append(f"{file}\n{content.decode(errors='replace')}")
    return "\n".join(texts)


def everything_mailed(mailbox: Mailbox) -> str:
    texts = []
    for mail in mailbox.messages():
        texts.append(str(mail.items()))
        parts: list[Any] = list(mail.walk())
        texts += [part.get_content() for part in parts if part.get_content_maintype() == "text"]
    return "\n".join(texts)


@pytest.mark.timeout(600)
def test_the_token_of_a_source_stands_in_nothing_that_a_flow_run_leaves_behind(
    payments: Payments, prefect_server: PrefectServer, mail_server: MailServer, platform: dict[str, str],
    prefect_worker: PrefectWorker,
) -> None:  # fmt: skip
    failed = ingested()
    assert failed.state is not None and failed.state.is_failed(), failed.state
    mailbox = mail_server.mailbox
    mailbox.wait_for(lambda mail: "status 403" in _plain(mail), timeout=180)
    payments.fails = False
    good = ingested()
    assert good.state is not None and good.state.is_completed(), good.state

    home = Path(platform["GROUNDWORK_HOME"])
    told = {
        "Prefect's database": everything_in(prefect_server.database_url),
        "mails": everything_mailed(mailbox),
        "bucket": everything_written(home / "bucket"),
        "files": everything_below(home, prefect_server.directory, prefect_worker.directory),
    }
    # what is looked through is what there is to see
    assert str(failed.id) in told["Prefect's database"] and "status 403" in told["Prefect's database"]
    assert "status 403" in told["mails"] and "/v1/payments" in told["bucket"] and "payments" in told["files"]
    found = {(place, form) for place, text in told.items() for form in FORMS if form in text}
    escaped = {(place, "JSON") for place, text in told.items() if json.dumps(CANARY)[1:-1] in text}
    assert found | escaped == set()


def _plain(mail: Any) -> str:
    body = mail.get_body(("plain",))
    return str(body.get_content()) if body else ""
