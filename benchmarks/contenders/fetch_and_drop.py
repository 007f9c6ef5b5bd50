"""The least an API can cost: fetch every page with aiohttp, read its cursor, drop it. Argument: url."""

from __future__ import annotations

import asyncio
import json
import re
import sys

import aiohttp

CURSOR = re.compile(rb'"next_cursor": "?([^"}]+)')


async def main() -> None:
    asked = json.loads(sys.argv[1])
    cursor, pages = "", 0
    async with aiohttp.ClientSession() as session:
        while cursor != "null":
            parameters = {"cursor": cursor} if cursor else {}
            async with session.get(asked["url"], params=parameters) as answer:
                body = await answer.read()
            found = CURSOR.search(body, len(body) - 100)
            assert found
            cursor, pages = found[1].decode(), pages + 1
    print(json.dumps({"pages": pages}))


if __name__ == "__main__":
    asyncio.run(main())
