"""Files that an API lists: each new or changed one is read once, and the list is the cursor.

A file goes to a temporary file on the disk and from there in pieces, so its size costs no memory. Small files
share batches; a large one is a batch of its own, so an error in it takes nothing else along. A bad file does
not block those after it: they are read, and then the run fails for it (decision 0036). A changed file is read
again whole; its rows are newer versions of what stands there under their key.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from groundwork.catalog import RestStream
from groundwork.catalog.answers import Expect
from groundwork.errors import AnswerUnusable, SourceError
from groundwork.scratch import scratch
from groundwork.sources import Rows, Undo
from groundwork.sources.rest.auth import Access
from groundwork.sources.rest.background import BackgroundLoop
from groundwork.sources.rest.bodies import LARGEST_BODY
from groundwork.sources.rest.content_encoding import CutOff
from groundwork.sources.rest.contents import Contents, as_page
from groundwork.sources.rest.expected import Required, check_content
from groundwork.sources.rest.fields import Fields
from groundwork.sources.rest.formats import damage, opened, pieces
from groundwork.sources.rest.frames import OpenFrame
from groundwork.sources.rest.listing import File, Listing, digest
from groundwork.sources.rest.paging import Pager, PagesAstray
from groundwork.sources.rest.pull import Meter, Moved, Sizes
from groundwork.sources.rest.records import CutPage
from groundwork.sources.rest.refusals import Refused
from groundwork.sources.rest.resume import Walk
from groundwork.sources.rest.transport import Answer, Client, Request

log = logging.getLogger(__name__)


def listing_stream(stream: RestStream) -> RestStream:
    """The listing of a stream of files as a stream of its own."""
    assert stream.files is not None
    return stream.model_copy(
        update={"format": "json", "records": stream.files.records, "error": "", "files": None,
                "primary_key": [], "columns": {}, "expect": Expect()}
    )  # fmt: skip


class FilesPull:
    """Reads the files of one stream that are new or have changed."""

    def __init__(
        self, name: str, stream: RestStream, loop: BackgroundLoop, client: Client, access: Access,
        walk: Walk, fields: Fields, where: str, sizes: Sizes,
    ) -> None:  # fmt: skip
        """Prepare.

        Args:
            name: of the stream.
            stream: the catalog's entry; its ``files`` are set.
            loop: where the client lives.
            client: asks for index pages and files.
            access: where the API is.
            walk: reads the pages of a JSON listing.
            fields: looks at the records.
            where: source and stream, for messages.
            sizes: when to hand on and when to commit.
        """
        assert stream.files is not None
        self._name, self._stream, self._files, self._where = name, stream, stream.files, where
        self._loop, self._client, self._access, self._walk = loop, client, access, walk
        self._fields, self._sizes = fields, sizes
        self._required, self._contents = Required(stream), Contents(stream)
        self._listing = Listing(stream.files, access, where)
        self._left_out: list[SourceError] = []
        """Why each file is left out that could not be read."""

    def read(self, state: Mapping[str, Any]) -> Iterator[Rows | Moved | Undo]:
        """Yield the rows of files, and the states to commit with them; the last one ends the pull.

        A file that is not what it must be is left out, and blocks none of those after it.

        Raises:
            SourceError: after the files read before have been yielded with a state to go on from; for a file
                that was left out, after all others.
        """
        known: dict[str, str] = dict(state.get("files") or {})
        begun, listed = time.monotonic(), self._list()
        self._check_listed(listed, known)
        done = {file.name: known[file.name] for file in listed if file.name in known}
        frame, meter, count = OpenFrame(), Meter(self._sizes), 0
        with scratch() as directory:
            for file in listed:
                try:
                    version = file.version or self._version(file)
                    if done.get(file.name) == version:
                        continue
                    found = self._pages(file, directory / "file")
                    head = list(itertools.islice(found, 2))
                except (AnswerUnusable, Refused) as error:  # of this file nothing is in the frame yet
                    self._leave_out(error)
                    continue
                except SourceError:
                    if frame.rows:
                        yield meter.rows(self._name, frame)
                    yield Moved({"files": done, "unfinished": True}, [], must=done != known)
                    raise
                large = len(head) > 1
                if (large and count) or meter.batch_is_full(frame):
                    if frame.rows:
                        yield meter.rows(self._name, frame)
                    yield Moved({"files": dict(done), "unfinished": True}, [], must=True)
                    meter = Meter(self._sizes)
                try:
                    for page, request in itertools.chain(head, found):
                        frame.add(page, request, None, [])
                        if meter.frame_is_full(frame):
                            yield meter.rows(self._name, frame)
                except AnswerUnusable as error:  # in the middle of a large file, which has a batch to itself
                    frame.clear()
                    yield Undo()
                    self._leave_out(error)
                    continue
                done[file.name] = version
                count += 1
        if frame.rows:
            yield meter.rows(self._name, frame)
        log.info(
            "pulled stream=%s files=%d listed=%d seconds=%.1f",
            self._name, count, len(listed), time.monotonic() - begun,
        )  # fmt: skip
        left_out = len(self._left_out)
        unfinished = {"unfinished": True} if left_out else {}
        events = [{"event": "files left out", "stream": self._name, "files": left_out}] if left_out else []
        yield Moved({"files": done, **unfinished}, events, must=done != known)
        if left_out:  # all others are read; the run fails all the same, and the next one tries them again
            raise self._left_out[0]

    def _leave_out(self, error: SourceError) -> None:
        log.warning("file left out stream=%s file=%d", self._name, len(self._left_out) + 1)
        self._left_out.append(error)

    def _list(self) -> list[File]:
        pager = Pager(listing_stream(self._stream), self._access, self._where)
        request = pager.request(pager.first, f"{self._where}, listing")
        if self._files.listing == "html":
            found = list(self._index_pages(request))
        else:
            with closing(self._walk(pager, {})) as pages:
                entries = (self._listing.of_json(page.cut.records, request.url) for page in pages)
                found = list(itertools.chain.from_iterable(entries))
        return list({file.name: file for file in found}.values())

    def _index_pages(self, request: Request) -> Iterator[File]:
        """The files of an index page and those after it, where it says which they are."""
        seen = {request.url}
        while True:
            page = self._loop.run(self._client.ask(request, lambda answer: answer))
            found, link = self._listing.of_html(page.body, page.url)
            yield from found
            link = link or page.next_link or ""
            if not link:
                return
            following = self._access.gate.resolved(page.url, link, self._where, "the next page of the index")
            if following in seen:
                raise PagesAstray(
                    self._where,
                    "the index goes on at a page that was read already",
                    fix="look at the index page with a browser",
                )
            seen.add(following)
            request = dataclasses.replace(request, url=following)

    def _version(self, file: File) -> str:
        request = Request(file.url, f"{self._where}, file '{file.name}'", "HEAD")
        try:
            headers = self._loop.run(self._client.ask(request, lambda answer: answer)).headers
        except Refused as refusal:
            if refusal.status not in (405, 501):
                raise
            return "read"  # nothing tells versions apart: it is read once
        said = [headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")]
        return digest("\n".join(said).encode())

    def _pages(self, file: File, path: Path) -> Iterator[tuple[CutPage, str]]:
        """The records of a file, each piece with where it came from."""
        where = f"{self._where}, file '{file.name}'"
        answer = self._loop.run(
            self._client.ask(
                Request(file.url, where, into=path, most=self._files.max_bytes), lambda answer: answer
            )
        )
        request, cut_off = self._describe(file, answer, path), ""
        try:
            for page in self._cut(answer, path, where):
                self._fields.look(page.records)
                yield page, request
        except CutOff as cut:
            cut_off = str(cut)
        if cut_off:
            raise AnswerUnusable(
                where, f"the file is not whole ({cut_off})", why="it may still be being written",
                fix="the next run reads it again",
            )  # fmt: skip

    def _cut(self, answer: Answer, path: Path, where: str) -> Iterator[CutPage]:
        with path.open("rb") as packed, opened(packed, where) as plain, damage(where):
            if self._stream.format == "json":
                body = plain.read(LARGEST_BODY + 1)
                if len(body) > LARGEST_BODY:
                    raise AnswerUnusable(
                        where, f"the file is larger than {LARGEST_BODY >> 20} MB",
                        why="one JSON text is read whole", fix="ask for lines of JSON (ndjson) instead",
                    )  # fmt: skip
                yield self._contents.cut(dataclasses.replace(answer, body=body), where)
                return
            check_content(answer, plain.read(200), self._stream, where)
            plain.seek(0)
            for records in pieces(plain, self._stream, where):
                if plain.tell() > self._files.max_bytes:
                    raise AnswerUnusable(
                        where,
                        f"the file is larger than {self._files.max_bytes >> 20} MB, unpacked",
                        fix="raise files.max_bytes if it is right",
                    )
                self._required.check(records, where)
                yield as_page(records)

    def _describe(self, file: File, answer: Answer, path: Path) -> str:
        url = self._access.unsigned(answer.url)
        if self._files.name:  # the link changes: it is signed
            url = url.with_query(None)
        with path.open("rb") as stored:
            sha256 = hashlib.file_digest(stored, "sha256").hexdigest()
        told = {
            "url": self._access.secrets.redact(str(url)),
            "method": "GET",
            "file": file.name,
            "status": answer.status,
            "sent_at": answer.sent_at.isoformat(timespec="milliseconds"),
            "fetched_at": answer.fetched_at.isoformat(timespec="milliseconds"),
            "answer_sha256": sha256,
            "headers": {
                name: self._access.secrets.redact(answer.headers[name])
                for name in self._stream.keep_headers
                if name in answer.headers
            },
        }
        return msgspec.json.encode(told).decode()

    def _check_listed(self, listed: list[File], known: Mapping[str, str]) -> None:
        if known and not listed and self._stream.shrink_tolerance < 1:
            raise AnswerUnusable(
                self._where, f"the listing is empty, where the last one had {len(known)} files",
                why="a bad token often looks like this",
                fix="if all files are really gone, set 'shrink_tolerance: 1' for one run",
            )  # fmt: skip
