"""The gate for URLs: what a reference becomes, and what may be sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from groundwork.sources.rest.gate import AddressRefused, Gate, is_path
from groundwork.sources.rest.links import next_link

BASE = URL("https://api.example.com/v1")
AT = URL("https://api.example.com/v1/books?page=1", encoded=True)
GATE = Gate((BASE,))


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v2/x?a=b%20c&d=%2F", "/v2/x?a=b%20c&d=%2F"),
        ("more?page=2", "/v1/more?page=2"),
        ("?page=2", "/v1/books?page=2"),
        ("", "/v1/books?page=1"),
        ("#end", "/v1/books?page=1"),
        ("../a/./b/../c", "/a/c"),
        ("..", "/"),
        ("../../../x", "/x"),
        ("a/b:c", "/v1/a/b:c"),
        ("HTTPS://API.Example.COM:443/x", "/x"),
        ("//api.example.com/x", "/x"),
        ("https://api。example.com/x", "/x"),
        ("https://api.example.com", "/"),
        ("https://api.example.com?x=1", "/?x=1"),
        ("https://api.example.com//evil.example/x", "//evil.example/x"),
        ("/.//evil.example/x", "//evil.example/x"),
        ('/x y?q=é|\\"<', "/x%20y?q=%C3%A9|%5C%22%3C"),
        ("/x?next=http://evil.example/", "/x?next=http://evil.example/"),
        ("/a+b?c=d+e&f=%zz", "/a+b?c=d+e&f=%zz"),
    ],
)
def test_a_reference_leads_to_a_path_on_our_origin(target: str, path: str) -> None:
    found = GATE.passed(GATE.resolved(AT, target, "w", "the next page"), "w")
    assert found.raw_path_qs == path and str(found.origin()) == "https://api.example.com"


@pytest.mark.parametrize(
    "target",
    [
        "http://api.example.com/x",
        "https://api.example.com:8443/x",
        "https://api.example.com./x",
        "https://evil.example/",
        "//evil.example",
        "https://api.example.com@evil.example/",
        "https://api.example.com\\@evil.example",
        "https://evil.example\\@api.example.com",
        "\\\\evil.example",
        "/\\evil",
        "https://api.example.com.evil.example/",
        "https://api.example.com%2eevil.example/",
        "https:evil.example",
        "https:///evil.example",
        "javascript:alert(1)",
        "https://api.example.com:/\n/x",
        "\t//evil.example",
        " /x",
        "https://[::1]/",
        "https://[::1",
        "https://[::1%25lo]/",
        "https://api.example.com:99999/",
        "https://api.example.com:4４3/",
        "https://api.example.com:443:443/",
        "https://api.example.com:+443/",
        "https://u@api.example.com/",
        "https://@api.example.com/",
        "https://%61pi.example.com/",
        "/x\x00",
        "/x\ud800",
        "https:// api.example.com/",
        "https://api.example.com\u2028/",
    ],
)
def test_a_reference_elsewhere_or_of_two_readings_is_refused(target: str) -> None:
    with pytest.raises(AddressRefused):
        GATE.resolved(AT, target, "w", "the next page")


def test_every_form_of_an_address_of_ours_is_known() -> None:
    six = Gate((URL("http://[0:0::1]:8080/v1"),))
    found = six.resolved(
        URL("http://[::1]:8080/v1/x"), "http://[0:0:0:0:0:0:0:1]:8080/y", "w", "the next page"
    )
    assert str(six.passed(found, "w")) == "http://[::1]:8080/y"
    with pytest.raises(AddressRefused, match=r"another host \(http://\[::2\]:8080\)"):
        six.resolved(URL("http://[::1]:8080/v1/x"), "http://[::2]:8080/y", "w", "the next page")


@pytest.mark.parametrize(
    "url",
    [
        URL("https://evil.example/x"),
        URL("http://api.example.com/x"),
        URL("https://u@api.example.com/x"),
        URL("https://api.example.com:444/x"),
        URL("/x"),
        URL("//evil.example/x"),
        URL("https://api.example.com/a b", encoded=True),
        URL("https://api.example.com/é", encoded=True),
        URL("https://api.example.com/a\\b", encoded=True),
        URL("https://@api.example.com.evil/", encoded=True),
    ],
)
def test_what_is_sent_is_checked_whatever_it_was_made_from(url: URL) -> None:
    with pytest.raises(AddressRefused):
        GATE.passed(url, "w")


@pytest.mark.parametrize(
    "path", ["@evil.example/", ":1@evil.example/", ".evil.example/", ":99999999/", "x", ""]
)
def test_a_stored_link_that_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(AddressRefused, match="no path of this API"):
        GATE.stored(path, "w")


@settings(max_examples=500, deadline=None)
@given(st.text() | st.text(alphabet="/\\@:.#?%[]a1\t\n hH。").map(lambda text: f"//{text}"))
def test_any_text_is_a_path_on_our_origin_or_is_refused(target: str) -> None:
    try:
        found = GATE.resolved(AT, target, "w", "the next page")
    except AddressRefused:
        return
    assert str(GATE.passed(found, "w")).startswith("https://api.example.com/")
    assert is_path(found.raw_path_qs)
    assert GATE.passed(GATE.stored(found.raw_path_qs, "w"), "w") == found


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        (['<a>; rel="next"'], "a"),
        (["<a>; rel=next"], "a"),
        (['<p>; rel="prev", <n,1;2>; title="x, y; rel=\\"prev\\""; rel="last NEXT"'], "n,1;2"),
        (["<p>; rel=prev", '<n>; rel="next"'], "n"),
        (['<p>; rel="prev"; rel="next"'], None),
        (['<n>;rel = "next" ;x'], "n"),
        (["<n>"], None),
        (['<n; rel="next"'], None),
        (['nonsense, <n>; rel="next"'], "n"),
        ([""], None),
        ([], None),
    ],
)
def test_the_next_link_of_a_header_is_found(headers: list[str], target: str | None) -> None:
    assert next_link(headers) == target
