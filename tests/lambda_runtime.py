"""AWS Lambda's runtime API on loopback, and a function that lives by it.

Answers what the runtime client asks (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): the
next invocation, its response, its error, an error of the start. Keeps Lambda's rules too: one invocation at
a time, an answer counts only under the id that was given out, and who is not done at the deadline is killed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

from tests.conditions import until

VERSION = "/2018-06-01/runtime"


def _gone(request: BaseHTTPRequestHandler) -> bool:
    """Whether who asked has hung up."""
    readable, _, _ = select.select([request.connection], [], [], 0)
    return bool(readable) and not request.connection.recv(1, socket.MSG_PEEK)


@dataclass
class Invocation:
    """One event on its way; ``kind`` says what became of it."""

    event: Any
    request_id: str
    deadline: float
    kind: str = ""
    """``response``, ``error``, ``init error``, ``killed`` or ``exited``."""
    body: Any = None
    error_type: str = ""
    seconds: float = 0.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is killed breaks its connection: that is no news."""


class LambdaRuntime:
    """The API; also a context manager. ``function`` starts one under it."""

    def __init__(self) -> None:
        self._next: Queue[Invocation] = Queue()
        self._running: Invocation | None = None
        self._answered = threading.Event()
        self._asked = threading.Event()
        self._closing = threading.Event()
        self.init_error: Any = None
        self.refused: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._get(self)

            def do_POST(self) -> None:
                outer._post(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def invoke(self, function: Function, event: Any, *, seconds: float) -> Invocation:
        """Send an event and wait for what becomes of it; the function is killed at the deadline."""
        until(
            lambda: self._asked.is_set() or self.init_error or not function.is_running,
            what="the function asks or ends",
        )
        if not self._asked.is_set():
            kind = "init error" if self.init_error else "exited"
            return Invocation(event, "", 0, kind=kind, body=self.init_error)
        self._answered.clear()
        began = time.time()
        invocation = Invocation(event, str(uuid.uuid4()), began + seconds)
        self._next.put(invocation)
        while not self._answered.wait(0.02):
            if time.time() > invocation.deadline:
                function.kill()
                invocation.kind = "killed"
                break
            if not function.is_running:
                invocation.kind = "exited"
                break
        invocation.seconds = time.time() - began
        return invocation

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        if request.path != f"{VERSION}/invocation/next":
            self._say(request, 404, {"errorType": "NotFound"})
            return
        self._running = None
        self._asked.set()
        while not self._closing.is_set() and not _gone(request):
            try:
                invocation = self._next.get(timeout=0.1)
            except Empty:
                continue
            if _gone(request):  # a function that was ended while it waited takes nothing from the next one
                self._next.put(invocation)
                return
            self._running = invocation
            self._asked.clear()
            headers = {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:0:function:groundwork",
                "Lambda-Runtime-Trace-Id": "Root=1-0-0;Sampled=0",
            }
            self._say(request, 200, invocation.event, headers)
            return

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length", 0))) or b"null")
        error_type = request.headers.get("Lambda-Runtime-Function-Error-Type", "")
        if request.path == f"{VERSION}/init/error":
            self.init_error = {"type": error_type, **(body or {})}
            self._say(request, 202, {"status": "OK"})
            return
        running, kind = self._running, request.path.rpartition("/")[2]
        if running is None or request.path != f"{VERSION}/invocation/{running.request_id}/{kind}":
            self.refused.append(request.path)
            self._say(request, 400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"})
            return
        running.kind, running.body, running.error_type = kind, body, error_type
        self._running = None
        self._say(request, 202, {"status": "OK"})
        self._answered.set()

    def _say(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        body: Any,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        raw = json.dumps(body).encode()
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(raw)))
        request.end_headers()
        request.wfile.write(raw)


class Function:
    """A function's process: the runtime client with our handler, started as Lambda starts it."""

    def __init__(
        self,
        runtime: LambdaRuntime,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        self.began = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**environment, **lambda_environment(runtime)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        if self.is_running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def lambda_environment(runtime: LambdaRuntime) -> dict[str, str]:
    """The variables that Lambda sets (see its manual on environment variables), as far as they matter."""
    return {
        "AWS_LAMBDA_RUNTIME_API": runtime.address,
        "AWS_LAMBDA_FUNCTION_NAME": "groundwork",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "TZ": ":UTC",
    }
