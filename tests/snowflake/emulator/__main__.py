"""The emulator: fakesnow's server, with what the platform's statements need and fakesnow lacks.

It runs in an environment of its own (`requirements.txt`), since fakesnow pins DuckDB and sqlglot. Nothing of
fakesnow is copied: its modules are imported and corrected in place, so its version is pinned exactly.

What it proves is that our client code and our statements run; not that Snowflake agrees. docs/snowflake.md
says which statement was executed where.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fakesnow.server as server
import uvicorn

from tests.snowflake.emulator import (
    answers,
    corrections,
    formats,
    journal,
    keypair,
    merging,
    sessions,
    statements,
    storage,
)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="emulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True, help="a line of JSON per statement")
    parser.add_argument("--s3-endpoint", help="host:port of the S3 server that external stages read")
    parser.add_argument("--s3-key")
    parser.add_argument("--s3-secret")
    parser.add_argument("--key", action="append", default=[], help="USER=public_key.pem")
    given = parser.parse_args()
    journal.open_file(given.journal)
    for pair in given.key:
        keypair.register(*pair.split("=", 1))
    corrections.install()
    formats.install()
    statements.install()
    merging.install()
    sessions.install()
    app = answers.application()
    if given.s3_endpoint:
        storage.connect(server.shared_fs.duck_conn, given.s3_endpoint, given.s3_key, given.s3_secret)
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
