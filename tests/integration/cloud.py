"""Prefect Cloud on loopback: a real server behind Cloud's addresses, its key, and what only Cloud does.

After docs.prefect.io ("Cloud API overview", "Rate limits", "Service Level Agreements", "Automations"): an
address per workspace, a bearer key, 429 with Retry-After, automations that mail by themselves, agreements
that are merged by name. There is no admin API. What it does not say, this refuses, so that a test cannot
lean on it.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.prefect_server import PrefectServer

KEY = "pnu_0123456789abcdef"
ACCOUNT, WORKSPACE = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
PREFIX = f"/api/accounts/{ACCOUNT}/workspaces/{WORKSPACE}"


class Cloud:
    """A workspace; ``url`` is its API's address.

    Args:
        server: the real server, running.
    """

    def __init__(self, server: PrefectServer) -> None:
        self.server = server.api_url
        self._headers = server.headers()
        self.automations: dict[str, dict[str, Any]] = {}
        self.agreements: dict[str, dict[str, dict[str, Any]]] = {}
        self.refused: list[str] = []
        """What was asked for that Cloud has not."""
        self.limited = 0
        """How many requests were put off."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}{PREFIX}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes Prefect's client take it for Cloud."""
        return {
            "PREFECT_API_URL": self.url,
            "PREFECT_API_KEY": KEY,
            "PREFECT_CLOUD_API_URL": self.url.partition("/accounts")[0],
        }

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(60)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """What Cloud does by itself, or else what the server does."""
        if path.startswith("/admin/"):
            self.refused.append(path)
            return 404, b'{"detail": "Not Found"}'
        if path.startswith("/automations"):
            return self._automations(method, path, json.loads(body or b"{}"))
        if path.startswith("/slas/apply-resource-slas/"):
            return self._agree(path.rpartition("/")[2], json.loads(body))
        request = urllib.request.Request(
            self.server + path, data=body or None, method=method, headers=self._headers
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def _automations(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        found = path.removeprefix("/automations/").rstrip("/")
        if path == "/automations/filter":
            wanted = (body.get("automations") or {}).get("name", {}).get("any_")
            start, size = body.get("offset", 0), body.get("limit", 200)
            there = [a for a in self.automations.values() if not wanted or a["name"] in wanted]
            return 200, json.dumps(there[start : start + size]).encode()
        if method in ("POST", "PUT", "PATCH") and body:
            for action in body.get("actions", []):
                if action["type"] == "send-email-notification":
                    assert set(action) == {"type", "emails", "subject", "body"} and action["emails"]
        if method == "POST":
            made = {**body, "id": str(uuid.uuid4())}
            self.automations[made["id"]] = made
            return 201, json.dumps(made).encode()
        if found not in self.automations:
            return 404, b'{"detail": "Automation not found"}'
        if method == "PUT":
            self.automations[found] = {**body, "id": found}
            return 204, b""
        if method == "DELETE":
            del self.automations[found]
            return 204, b""
        return 200, json.dumps(self.automations[found]).encode()

    def _agree(self, resource: str, wanted: list[dict[str, Any]]) -> tuple[int, bytes]:
        kinds = {"duration", "stale_after", "within"}
        assert all(len(kinds & set(one)) == 1 and one["owner_resource"] == resource for one in wanted)
        before = self.agreements.get(resource, {})
        after = {one["name"]: one for one in wanted}
        self.agreements[resource] = after
        merged = {
            "created": [one for name, one in after.items() if name not in before],
            "updated": [one for name, one in after.items() if name in before],
            "deleted": [one for name, one in before.items() if name not in after],
        }
        return 200, json.dumps(merged).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer, extra = 401, b'{"detail": "Invalid authentication credentials"}', {}
                if self.headers.get("Authorization") == f"Bearer {KEY}":
                    if not self.path.startswith(PREFIX):
                        status, answer = 404, b'{"detail": "Not Found"}'
                    elif cloud.limited == 0:  # the first one of all, as when a limit is reached
                        cloud.limited = 1
                        status, answer, extra = 429, b'{"detail": "Rate limit"}', {"Retry-After": "0"}
                    else:
                        status, answer = cloud.answer(self.command, self.path.removeprefix(PREFIX), body)
                self.send_response(status)
                for name, value in {**extra, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
