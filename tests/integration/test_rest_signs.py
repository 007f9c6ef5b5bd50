"""A sign that more follows is never the end of a pull, whatever kind of paging the catalog names."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from groundwork.bucket import open_bucket
from groundwork.errors import AnswerUnusable
from groundwork.extract import extract
from groundwork.sources.rest import RestSource
from tests.integration.fault_api import Api, answer
from tests.integration.rest_reading import Read, entry, resolve

ITEMS = [
    {"id": number, "next": f"/items/{number + 1}", "count": 900, "has_more": True} for number in range(3)
]
"""Records may hold anything: nothing in them is a sign."""

IN_BODY: list[tuple[dict[str, Any], str]] = [
    ({"next": "/v1/books?page=2"}, "next"),
    ({"next": 2}, "next"),
    ({"next": {"page": 2}}, "next"),
    ({"next_page": 2}, "next_page"),
    ({"nextPage": "2"}, "nextPage"),
    ({"next_page_token": "CAUQAA"}, "next_page_token"),
    ({"nextPageToken": "CAUQAA"}, "nextPageToken"),
    ({"NextToken": "x"}, "NextToken"),
    ({"next_cursor": "x"}, "next_cursor"),
    ({"NextMarker": "x"}, "NextMarker"),
    ({"NextContinuationToken": "x"}, "NextContinuationToken"),
    ({"nextRecordsUrl": "/q/01g-2000"}, "nextRecordsUrl"),
    ({"@odata.nextLink": "https://elsewhere.example/x"}, "@odata.nextLink"),
    ({"odata.nextLink": "x"}, "odata.nextLink"),
    ({"__next": "x"}, "__next"),
    ({"next_href": "x"}, "next_href"),
    ({"LastEvaluatedKey": {"id": {"S": "x"}}}, "LastEvaluatedKey"),
    ({"paginationToken": "x"}, "paginationToken"),
    ({"continuationToken": "x"}, "continuationToken"),
    ({"continue": {"apcontinue": "x", "continue": "-||"}}, "continue"),
    ({"metadata": {"continue": "x"}}, "metadata.continue"),
    ({"cursor": "x"}, "cursor"),
    ({"response_metadata": {"next_cursor": "x"}}, "response_metadata.next_cursor"),
    ({"paging": {"next": {"after": "x", "link": "y"}}}, "paging.next"),
    ({"links": {"self": "a", "next": "b"}}, "links.next"),
    ({"_links": {"self": {"href": "a"}, "next": {"href": "b"}}}, "_links.next"),
    ({"links": [{"rel": "self", "href": "a"}, {"rel": "next", "href": "b"}]}, "links[rel=next]"),
    ({"link": [{"relation": "next", "url": "b"}]}, "link[relation=next]"),
    ({"has_more": True}, "has_more"),
    ({"hasMore": "true"}, "hasMore"),
    ({"has_more": 1}, "has_more"),
    ({"more": True}, "more"),
    ({"moreResultsAvailable": True}, "moreResultsAvailable"),
    ({"pagination": {"has_more_items": True}}, "pagination.has_more_items"),
    ({"pageInfo": {"hasNextPage": True, "endCursor": "x"}}, "pageInfo.hasNextPage"),
    ({"IsTruncated": True}, "IsTruncated"),
    ({"incomplete_results": True}, "incomplete_results"),
    ({"end_of_stream": False}, "end_of_stream"),
    ({"last": False}, "last"),
    ({"isLast": False}, "isLast"),
    ({"done": False}, "done"),
    ({"total": 1101}, "total"),
    ({"totalCount": 1101}, "totalCount"),
    ({"count": 1101}, "count"),
    ({"@odata.count": 1101}, "@odata.count"),
    ({"meta": {"total_records": 1101}}, "meta.total_records"),
    ({"response": {"numFound": 1101}}, "response.numFound"),
    ({"hits": {"total": {"value": 1101, "relation": "eq"}}}, "hits.total.value"),
    ({"recordsTotal": 1101}, "recordsTotal"),
    ({"total_pages": 12}, "total_pages"),
    ({"meta": {"last_page": 12}}, "meta.last_page"),
    ({"page": {"totalPages": 12, "number": 0, "size": 3, "totalElements": 3}}, "page.totalPages"),
    ({"totalCount": 10**400}, "totalCount"),
]

IN_HEADERS: list[tuple[str, str]] = [
    ("Link", '</v1/books?page=2>; rel="next"'),
    ("Link", "</v1/books?page=2>; rel=next"),
    ("Link", '</a>; rel="first", </v1/books?page=2>; title="x"; rel="last next"'),
    ("Link", '</v1/books?page=2; rel="next"'),
    ("X-Next-Page", "2"),
    ("X-Next-Cursor", "x"),
    ("X-Next-Token", "x"),
    ("Next", "x"),
    ("x-ms-continuation", "x"),
    ("X-Continuation-Token", "x"),
    ("X-Has-More", "true"),
    ("X-Total-Count", "1101"),
    ("X-Total", "1101"),
    ("X-WP-Total", "1101"),
    ("X-Total-Count", "9" * 5000),
    ("X-Total-Pages", "12"),
    ("X-WP-TotalPages", "12"),
    ("Content-Range", "items 0-2/1101"),
    ("Content-Range", "0-2/1101"),
]

NO_SIGNS: list[dict[str, Any]] = [
    {"next": None},
    {"next": ""},
    {"next": False},
    {"next": 0},
    {"next": {}},
    {"next": []},
    {"next": {"href": None}},
    {"has_more": False},
    {"has_more": False, "cursor": "x", "next_cursor": "y"},
    {"next_cursor": "0"},
    {"next": "-1"},
    {"last": True},
    {"last": "/v1/books?page=1"},
    {"links": [{"rel": "self", "href": "a"}]},
    {"done": True},
    {"total": 3},
    {"count": 3},
    {"total_pages": 1},
    {"page": 1, "per_page": 100, "pageSize": 100, "limit": 100},
    {"nextSyncToken": "x", "@odata.deltaLink": "y", "previous": "z", "prev_page": 1, "endCursor": "x"},
    {"paging": {"cursors": {"before": "x", "after": "y"}}},
    {"_shards": {"total": 5}},
    {"took": 900},
    {"facets": {"authors": {"count": 900}}},
    {"page": {"number": 0, "size": 100, "totalElements": 3, "totalPages": 1}},
]

WAYS: dict[str, dict[str, Any]] = {
    "single_page": {"kind": "single_page"},
    "page_number": {"kind": "page_number", "parameter": "page"},
    "offset": {"kind": "offset", "parameter": "skip", "size_parameter": "n"},
    "cursor": {"kind": "cursor", "parameter": "after", "next": "way"},
    "last_field": {"kind": "cursor", "parameter": "after", "last_field": "id"},
    "header_cursor": {"kind": "header_cursor", "parameter": "after", "header": "X-Way"},
    "continue_object": {"kind": "continue_object", "next": "way"},
    "json_link": {"kind": "json_link", "next": "way"},
    "header_link": {"kind": "header_link", "header": "X-Way"},
}


def serving(body: dict[str, Any], headers: dict[str, str] | None = None, status: int = 200) -> Any:
    async def books(request: web.Request) -> web.Response:
        first = not request.query or request.query.get("page") == "1" or request.query.get("skip") == "0"
        return answer({"items": ITEMS if first else [], **body}, status, **(headers or {}))

    return books


def source(api: Api, paging: dict[str, Any], **more: Any) -> RestSource:
    return RestSource(entry(api.url, {"records": "items", "paging": paging, **more}), resolve)


@pytest.mark.parametrize(("body", "name"), IN_BODY)
@pytest.mark.parametrize("kind", ["single_page", "cursor"])
def test_a_sign_of_more_in_the_body_is_an_error_that_names_it(
    serve: Callable[..., Api], kind: str, body: dict[str, Any], name: str
) -> None:
    api = serve(serving(body))
    with pytest.raises(AnswerUnusable, match=rf"sign that more follows: .*'{re.escape(name)}'"):
        Read(source(api, WAYS[kind]))
    ignored = Read(source(api, {**WAYS[kind], "ignore_signs": [name]}))
    assert ignored.ids == [0, 1, 2]


@pytest.mark.parametrize(("header", "value"), IN_HEADERS)
def test_a_sign_of_more_in_a_header_is_an_error_that_names_it(
    serve: Callable[..., Api], header: str, value: str
) -> None:
    api = serve(serving({}, {header: value}))
    with pytest.raises(AnswerUnusable, match=rf"sign that more follows: .*'{header}'"):
        Read(source(api, WAYS["single_page"]))
    assert Read(source(api, {"kind": "single_page", "ignore_signs": [header.upper()]})).ids == [0, 1, 2]


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"has_more": True}, {}),
        ({"meta": {"total": 1101}}, {}),
        ({}, {"X-Total-Count": "1101"}),
        ({}, {"X-Next-Page": "7"}),
        ({}, {"Link": '</x>; rel="next"'}),
        ({"nextPageToken": "x"}, {}),
    ],
)
def test_no_kind_of_paging_ends_beside_a_sign_of_more(
    serve: Callable[..., Api], kind: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    with pytest.raises(AnswerUnusable, match="sign that more follows"):
        Read(source(serve(serving(body, headers)), WAYS[kind]))


@pytest.mark.parametrize("kind", WAYS)
def test_each_kind_of_paging_ends_where_nothing_says_more(serve: Callable[..., Api], kind: str) -> None:
    assert Read(source(serve(serving({"total": 3, "has_more": False})), WAYS[kind])).ids == [0, 1, 2]


@pytest.mark.parametrize("body", NO_SIGNS)
def test_what_says_nothing_of_more_is_no_sign(serve: Callable[..., Api], body: dict[str, Any]) -> None:
    assert Read(source(serve(serving(body)), WAYS["single_page"])).ids == [0, 1, 2]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Total": "5000", "X-RateLimit-Limit": "5000", "X-Total-Bytes": "900", "Age": "900"},
        {"Link": '</v1/books?page=1>; rel="last", </next>; rel="prev"', "X-Next-Page": ""},
        {"Content-Range": "items 0-2/3", "X-Total-Count": "3", "X-Total-Pages": "1"},
    ],
)
def test_headers_that_say_nothing_of_more_are_no_signs(
    serve: Callable[..., Api], headers: dict[str, str]
) -> None:
    assert Read(source(serve(serving({}, headers)), WAYS["single_page"])).ids == [0, 1, 2]


def test_a_part_of_the_whole_by_its_status_is_a_sign_of_more(serve: Callable[..., Api]) -> None:
    api = serve(serving({}, {"Content-Range": "0-2/*"}, 206))
    with pytest.raises(AnswerUnusable, match=r"'206'"):
        Read(source(api, WAYS["single_page"]))
    whole = serve(serving({}, {"Content-Range": "0-2/3"}, 206))
    assert Read(source(whole, WAYS["single_page"])).ids == [0, 1, 2]


def test_signs_around_records_deep_in_the_body_are_found(serve: Callable[..., Api]) -> None:
    async def graph(request: web.Request) -> web.Response:
        page = {"nodes": ITEMS, "pageInfo": {"hasNextPage": True, "endCursor": "x"}}
        return answer({"data": {"repo": {"stars": {"totalCount": 5000}, "issues": page}}})

    api = serve(graph)
    stream = {"records": "data.repo.issues.nodes", "query": "query { x }"}
    with pytest.raises(AnswerUnusable, match=r"'data\.repo\.issues\.pageInfo\.hasNextPage'"):
        Read(RestSource(entry(api.url, stream), resolve))


def test_signs_beside_records_in_a_list_are_found(serve: Callable[..., Api]) -> None:
    async def bank(request: web.Request) -> web.Response:
        return answer([{"page": 1, "pages": 6, "per_page": 3, "total": 17}, ITEMS])

    api = serve(bank)
    with pytest.raises(AnswerUnusable, match=r"'\[0\]\.pages'"):
        Read(RestSource(entry(api.url, {"records": "[1]"}), resolve))


def test_a_path_whose_key_holds_a_dot_is_known_as_used(serve: Callable[..., Api]) -> None:
    async def feed(request: web.Request) -> web.Response:
        more = {} if "skip" in request.query else {"@odata.nextLink": "/books?skip=1"}
        return answer({"value": ITEMS if more else [], **more})

    paging = {"kind": "json_link", "next": r"@odata\.nextLink"}
    assert Read(RestSource(entry(serve(feed).url, {"records": "value", "paging": paging}), resolve)).ids == [
        0,
        1,
        2,
    ]
    with pytest.raises(AnswerUnusable, match=r"@odata\.nextLink"):
        Read(RestSource(entry(serve(feed).url, {"records": "value"}), resolve))


def test_a_query_that_gave_as_much_as_the_api_serves_is_gone_on_with(serve: Callable[..., Api]) -> None:
    """Its total counts more than one query gives, and is no sign: the next query goes on."""

    async def search(request: web.Request) -> web.Response:
        since = int(request.query.get("since", 0))
        found = [number for number in range(1, 26) if number >= since]
        return answer({"items": [{"id": n, "at": n} for n in found[:10]], "total": len(found)})

    stream = {
        "records": "items",
        "replication": "incremental",
        "cursor": {"field": "at", "parameter": "since"},
        "paging": {"kind": "single_page", "query_limit": 10, "size": 10},
        "primary_key": ["id"],
        "columns": {"id": {"type": "integer"}},
    }
    assert set(Read(RestSource(entry(serve(search).url, stream), resolve)).ids) == set(range(1, 26))


def test_signs_in_headers_count_for_lines_and_arrays_too(serve: Callable[..., Api]) -> None:
    async def lines(request: web.Request) -> web.Response:
        body = b'{"id": 1}\n' if request.path == "/lines" else b'[{"id": 1}]'
        return answer(body, Link='</x>; rel="next"')

    api = serve(lines)
    for stream in ({"endpoint": "/lines", "format": "ndjson"}, {"endpoint": "/array"}):
        with pytest.raises(AnswerUnusable, match="a next link in the header 'Link'"):
            Read(RestSource(entry(api.url, stream), resolve))


@pytest.mark.parametrize("replication", ["full_table", "incremental"])
def test_a_pull_with_a_sign_of_more_commits_nothing(
    serve: Callable[..., Api], tmp_path: Any, replication: str
) -> None:
    async def books(request: web.Request) -> web.Response:
        return answer({"items": [{"id": 1, "at": 1}], "has_more": True})

    bucket = open_bucket(f"file://{tmp_path}")
    cursor = {"cursor": {"field": "at", "parameter": "since"}} if replication == "incremental" else {}
    what = {"records": "items", "replication": replication, **cursor}
    page = entry(serve(books).url, what)
    with pytest.raises(AnswerUnusable, match="'has_more'"):
        extract(page, RestSource(page, resolve), bucket)
    assert not list(tmp_path.rglob("manifests/*.json"))


def test_a_listing_of_files_with_a_sign_of_more_is_not_the_whole(serve: Callable[..., Api]) -> None:
    async def files(request: web.Request) -> web.Response:
        if request.path == "/books":
            return answer({"files": [{"url": "/a"}], "next_page_token": "x"})
        return answer(b'{"id": 1}\n')

    stream = {"format": "ndjson", "files": {"records": "files"}, "replication": "incremental"}
    with pytest.raises(AnswerUnusable, match="'next_page_token'"):
        Read(RestSource(entry(serve(files).url, stream), resolve))
