"""HMAC-SHA256 over method, path, time and body: the plain scheme that many APIs vary."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

from yarl import URL

from groundwork.sources.rest.auth import Outgoing


def sign(request: Outgoing, secrets: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Sign four lines with the secret ``key``: method, path with query, unix time, SHA-256 of the body (hex).

    Options: ``key_id`` (sent along), ``signature_header``, ``time_header``, ``key_id_header``.
    """
    now = str(int(time.time()))
    path = URL(request.url, encoded=True).raw_path_qs
    text = "\n".join([request.method, path, now, hashlib.sha256(request.body).hexdigest()])
    signature = hmac.new(secrets["key"].encode(), text.encode(), hashlib.sha256).hexdigest()
    headers = {
        options.get("time_header", "X-Timestamp"): now,
        options.get("signature_header", "X-Signature"): signature,
    }
    if "key_id" in options:
        headers[options.get("key_id_header", "X-Key-Id")] = options["key_id"]
    return headers
