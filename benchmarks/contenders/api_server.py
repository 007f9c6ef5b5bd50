"""The API that is read: nested records, 1,000 a page, cursor paging, pages made before the first request.

``/records`` lists all of them, ``/tenth`` the first tenth. Argument: the number of
records. Prints ``{"port": …}`` when it listens and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

from aiohttp import web

PAGE = 1_000


def record(number: int) -> dict[str, object]:
    return {
        "id": f"rec_{number:09d}",
        "customer": {"id": number % 5000, "name": f"Customer {number % 5000}", "vip": number % 11 == 0},
        "address": {
            "street": f"{number % 300} Long Street",
            "city": "Utrecht",
            "geo": {"lat": 52.1, "lon": 5.1},
        },
        "amount": {"value": number % 99999 / 100, "currency": "EUR"},
        "tags": ["new", f"t{number % 7}", f"group-{number % 31}"],
        "lines": [{"sku": f"S{number % 997}", "quantity": 1 + number % 4, "price": 9.95} for _ in range(2)],
        "note": None if number % 3 else "please ring twice",
        "created_at": f"2026-01-{1 + number % 28:02d}T12:00:00Z",
        "updated_at": f"2026-02-{1 + number % 28:02d}T12:00:00.123456Z",
    }


def pages(records: int) -> list[bytes]:
    made = []
    for first in range(0, records, PAGE):
        data = [record(number) for number in range(first, min(first + PAGE, records))]
        following = str(first + PAGE) if first + PAGE < records else None
        made.append(json.dumps({"data": data, "next_cursor": following}).encode())
    return made


async def serve(bodies: list[bytes]) -> None:
    last = len(bodies) // 10 - 1
    ending = re.sub(rb'"next_cursor": "\d+"', b'"next_cursor": null', bodies[last])

    async def answer(request: web.Request) -> web.Response:
        number = int(request.query.get("cursor") or 0) // PAGE
        ends = number == last and request.path == "/tenth"
        return web.Response(body=ending if ends else bodies[number], content_type="application/json")

    app = web.Application()
    app.router.add_get("/records", answer)
    app.router.add_get("/tenth", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(pages(int(sys.argv[1]))))
