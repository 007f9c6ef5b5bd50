"""What a call for help says, and what it keeps to itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from groundwork.alerts.affected import Affected, by_nodes, by_platform, by_source, sources_of
from groundwork.alerts.channels import Sender
from groundwork.alerts.masking import masked
from groundwork.alerts.notices import Notice, compose
from groundwork.alerts.silence import silence
from groundwork.alerts.troubles import Row, Trouble
from groundwork.catalog import load_catalog

CATALOG = load_catalog(Path(__file__).parents[2] / "catalog")
NOW = datetime(2026, 11, 22, 12)


def model(name: str, layer: str) -> dict[str, Any]:
    return {"resource_type": "model", "schema": layer, "alias": name, "fqn": ["groundwork", layer, name]}


MANIFEST = {
    "sources": {
        "source.groundwork.shop.orders": {"source_name": "shop", "identifier": "shop__orders"},
        "source.groundwork.payments.payments": {
            "source_name": "payments",
            "identifier": "payments__payments",
        },
    },
    "nodes": {
        "model.groundwork.base": model("base_shop__orders", "staging"),
        "model.groundwork.orders": model("orders", "visualization"),
        "model.groundwork.fees": model("fees", "visualization"),
    },
    "exposures": {"exposure.groundwork.closing": {"name": "closing", "label": "Monthly closing"}},
    "child_map": {
        "source.groundwork.shop.orders": ["model.groundwork.base"],
        "model.groundwork.base": ["model.groundwork.orders", "test.groundwork.unique_base"],
        "model.groundwork.orders": ["exposure.groundwork.closing"],
        "source.groundwork.payments.payments": ["model.groundwork.fees"],
    },
    "parent_map": {"test.groundwork.unique_base": ["model.groundwork.base"]},
}


def test_a_source_touches_its_tables_and_all_that_is_built_from_them() -> None:
    touched = by_source(CATALOG["shop"], MANIFEST)
    assert "landing.shop__orders" in touched.tables
    assert touched.models == ["visualization.orders"]
    assert touched.exposures == ["Monthly closing"]
    assert touched.questions[0].startswith("How much do we take per day")


def test_a_source_is_told_of_even_when_dbt_has_never_run() -> None:
    assert by_source(CATALOG["payments"], {}).tables == [
        "landing.payments__payments",
        "landing.payments__refunds",
    ]


def test_a_failing_test_touches_what_is_built_from_what_it_tests() -> None:
    touched = by_nodes(["test.groundwork.unique_base"], MANIFEST)
    assert touched.models == ["visualization.orders"]
    assert touched.exposures == ["Monthly closing"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach postgresql://shop:hunter2@host/shop", "hunter2"),
        ("smtp://user:p%40ss@mail.example.com refused", "p%40ss"),
        ("password=hunter2 was wrong", "hunter2"),
        ("Conversion Error: Could not convert string 'jane@example.com' to INT32", "jane"),
        ('Constraint Error: Duplicate key "email: jane@example.com" violates', "jane"),
        ("Key (email)=(jane@example.com) violates unique constraint; key (email)=(jane)", "jane"),
        ("Failing row contains (7, jane, null) violates not-null constraint", "jane"),
        ("invalid literal for int() with base 10: 'jane'", "jane"),
        ("no such customer: jane.doe+x@example.co.uk", "jane"),
        ("Authorization: Bearer abcdef123456 refused", "abcdef123456"),
        ("key AKIAIOSFODNN7EXAMPLE is not known", "AKIAIOSFODNN7EXAMPLE"),
        ("card 4111 1111 1111 1111 declined", "1111"),
        ("call +49 30 1234567", "1234567"),
        ("IBAN DE89 3704 0044 0532 0130 00", "3704"),
        ("SNOWFLAKE_PASSWORD=x1", "x1"),
        ("PGPASSWORD=hunter2 psql", "hunter2"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
        ('{"client_secret":"abc", "n": 1}', "abc"),
        (r"{\"client_secret\": \"abc def\"}", "def"),
        ("{'api_key': b'abc def'}", "def"),
        ("password='my secret value' host=x", "value"),
        ('password = "my \\"secret\\" value"', "value"),
        ("password=SecretStr('my secret value')", "value"),
        ("password='cut in the mid", "mid"),
        ("a" * 100 + "_password=hunter2", "hunter2"),
        ("run --db-password hunter2", "hunter2"),
        ("<Password>hunter2</Password>", "hunter2"),
        ("?password%3Dhunter2", "hunter2"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpA\nAb12\n-----END RSA PRIVATE KEY-----", "Ab12"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEpAcut", "MIIEpA"),
        ("MIIEowIBAAKCAQEAr2Zm1Q9dG0f8aJtqYw1B4L5k6d7V8w9X0y1Z2a3b4c5d6e7F", "MIIEow"),
        ("remote: ghp_" + "a1B2" * 9, "a1B2"),
        ("stripe sk_live_" + "a1B2" * 6, "a1B2"),
        ("prefect pnu_" + "a1B2" * 9, "a1B2"),
        ("slack xoxb-123456789012-abcdefghijkl", "abcdefghijkl"),
        ("post https://hooks.slack.com/services/T0/B0/xyz", "xyz"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123", "abcDEF123"),
        ("GET https://x.s3.amazonaws.com/k?X-Amz-Signature=abcdef&x=1", "abcdef"),
        ("GET https://a.blob.core.windows.net/c?sv=1&sig=abcdef&se=2", "abcdef"),
        ("Cookie: session=abcdef; theme=dark", "abcdef"),
        ("cannot reach postgresql://shop:hunt", "hunt"),
        ("clone https://abcdef@github.com/x/y", "abcdef"),
    ],
)
def test_no_secret_and_no_value_is_mailed(text: str, secret: str) -> None:
    assert secret not in masked(text)


def row(kind: Any = "failed", what: str = "ingest-shop: no", **more: Any) -> Row:
    trouble = Trouble("shop", kind, "shop", what, "2026-11-22T12:00:00+00:00", source="shop", **more)
    return Row(trouble, ["deployment ingest-shop"], ["2026-11-22T12:00:05+00:00"])


def text_of(mail: Any, kind: str = "plain") -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


TO = Sender("", "a@x.org", ["b@x.org", "c@x.org"])


def test_a_mail_is_plain_and_html_and_nothing_in_it_is_markup() -> None:
    notice = Notice(
        [row(what="<b>no</b>", run_id="42", deployment="ingest-shop")], affected=Affected(["landing.t"]),
        owners=["owner@x.org"], url="http://x/1", log_lines=["a <script>"],
    )  # fmt: skip
    mail = compose(notice, TO)
    assert mail["To"] == "b@x.org, c@x.org, owner@x.org"
    assert mail["Subject"] == "[Groundwork] shop: failed (ingest-shop)"
    assert (mail["X-Groundwork-State"], mail["X-Groundwork-Run"]) == ("open", "42")
    assert "a <script>" in text_of(mail)
    assert "2026-11-22 12:00:00 UTC" in text_of(mail)
    assert "docs/runbooks.md#failed" in text_of(mail)
    assert "landing.t" in text_of(mail)
    assert "<script>" not in text_of(mail, "html")
    assert "&lt;b&gt;no&lt;/b&gt;" in text_of(mail, "html")


def test_the_mail_that_it_is_over_answers_the_first_and_sorts_beside_it() -> None:
    opened = row(deployment="ingest-shop")
    first = compose(Notice([opened]), TO)
    opened.message_id, opened.over = first["Message-ID"], "2026-11-22T12:30:05+00:00"
    mail = compose(Notice([opened], recovered=True), TO)
    assert mail["Subject"] == "[Groundwork] shop: recovered (was failed)"
    assert mail["In-Reply-To"] == first["Message-ID"] != mail["Message-ID"]
    assert "after 30 minutes" in text_of(mail)


def test_the_mail_that_it_is_over_says_that_nobody_was_told_when_it_came() -> None:
    unheard = row(deployment="ingest-shop")
    unheard.untold, unheard.over = True, "2026-11-22T12:30:05+00:00"
    mail = compose(Notice([unheard], recovered=True), TO)
    assert mail["Subject"] == "[Groundwork] shop: recovered (was failed)"
    assert mail["In-Reply-To"] is None
    assert "Nobody was told when it came" in text_of(mail) and "ingest-shop: no" in text_of(mail)
    assert "docs/runbooks.md#failed" in text_of(mail)


def test_one_run_with_several_failing_tests_is_one_mail() -> None:
    rows = [row("test failed", f"test {n} failed", node=f"test.groundwork.t{n}") for n in range(3)]
    mail = compose(Notice(rows), TO)
    assert mail["Subject"] == "[Groundwork] shop: test failed (3 troubles)"
    assert text_of(mail).count("  - t") == 3


def test_a_secret_whose_value_is_known_is_masked_whatever_it_looks_like() -> None:
    notice = Notice(
        [row(what="said plainly-a-word")], log_lines=["plainly-a-word"], secrets=["plainly-a-word"]
    )
    assert "plainly" not in compose(notice, TO).as_string()


def test_a_trouble_of_the_platform_touches_all_there_is() -> None:
    touched = by_platform(CATALOG.values(), MANIFEST)
    assert touched.models == ["visualization.fees", "visualization.orders"]
    assert {"landing.shop__orders", "landing.payments__refunds"} <= set(touched.tables)


def test_a_failing_test_is_told_to_those_who_own_what_it_is_built_from() -> None:
    manifest = MANIFEST | {
        "parent_map": {
            "test.groundwork.t": ["model.groundwork.orders"],
            "model.groundwork.orders": ["source.groundwork.shop.orders"],
        }
    }
    assert sources_of(["test.groundwork.t"], manifest, CATALOG) == ["shop"]


@pytest.mark.parametrize(
    ("looked", "told"),
    [
        (timedelta(minutes=14), ""),
        (timedelta(minutes=16), "shop was last looked at 16 minutes ago, wanted every 5 minutes"),
        (timedelta(hours=3), "shop was last looked at 3 hours ago, wanted every 5 minutes"),
        (None, "shop was last looked at never, wanted every 5 minutes"),
    ],
)
def test_a_source_that_was_not_looked_at_is_silent(looked: timedelta | None, told: str) -> None:
    assert silence(CATALOG["shop"], NOW - looked if looked else None, NOW) == told


@pytest.mark.parametrize(
    "text",
    [
        "committed source=shop batch=0000000042 rows=1200 at 2026-11-22 23:44:00.123456",
        "slot at 0000000001A2B3C4 of run 073e2b4c-7f8c-4750-9101-f5f42f044f8d",
        "object shop/data/orders/0000000042/part-00000.parquet has 123456789012 bytes",
        'password authentication failed for user "groundwork"',
        "Basic authentication is refused, Bearer authentication too",
        "token_count=12 max_tokens: 5 secret_name: foo primary_key: [id] tokens=120",
        "unexpected token at line 3, the key is not sorted, 12 secrets were found",
        "cannot reach http://127.0.0.1:4200/api and http://[::1]:4200, see https://example.org/a#b",
        "sk-learn is no key, and neither is task-token-refresh",
        "timestamps 1764342000000 and 1764342000001, offset 12345678901234",
        "commit 101d5f0c1a2b3c4d5e6f708192a3b4c5d6e7f809 of branch main",
        "SELECT id, password_hash FROM users WHERE token IS NULL",
        "FR01 to FR09 failed in step AB12 CDEF 3456",
        "/srv/project/.venv/lib/python3.11/site-packages/prefect/engine.py:123",
    ],
)
def test_ordinary_text_is_not_masked(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "piece",
    ["a", "a-", "a.", "a@", "@a.", "1", "1 ", "DE89 ", "eyJ", "eyJaaaaaaaa-", "://a:", "password",
     "password=", 'password="', "password=\\", "key (",
     "parse Failing row contains (", "parse )=(", "parse '", "token ",
     "-----BEGIN PRIVATE KEY-----", "A1a" * 20 + "\n", "sk_live_", "sk-", "bearer ", "cookie:", "--", "sig",
     "SG.", "%3D", "\n", " ", "(", "xox", "hooks.slack.com/", '"password" '],
)  # fmt: skip
def test_a_million_letters_are_masked_whatever_they_are(piece: str) -> None:
    """Where a pattern looks at the whole rest from each place, this takes minutes: the test's time is up."""
    masked(piece * (1_000_000 // len(piece)))
