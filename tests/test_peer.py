"""Programs that show a certificate, and how often anybody may ask: a hub that does TLS itself."""

import json
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hub import authority, credentials, doctor, settings, tokens
from hub.credentials import BadDescription, app
from hub.rates import CREDENTIALS_MAX, Rates
from hub.store import Store
from hub.tables import tokens as kept
from hub.tokens import CERTIFICATE
from hub.visits import COUNT_MS, Visits
from tests.desk import Log
from tests.webside import HARBOR, REACH, Side, beside, records

BURST = 40
HOUR_MS = 3_600_000


class Papers(NamedTuple):
    """Files in PEM: the authority; certificates of the web and of three programs, the last one foreign."""

    ca: Path
    web: Path
    bound: Path
    unbound: Path
    foreign: Path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    made = []
    for number in range(2):  # the authority stays, its certificates are made anew
        authority.prepare(folder / "one", "localhost")
        made.append((folder / "one" / authority.HUB).rename(folder / f"program-{number}.pem"))
    authority.prepare(folder / "other", "localhost")
    ours = folder / "one"
    return Papers(ours / authority.CA, ours / authority.BROKER, *made, folder / "other" / authority.HUB)


@pytest.fixture(scope="module")
def hub(side: Side, papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    more = {
        "web_certificate": papers.web,
        "web_client_ca": papers.ca,
        "requests_per_s_max": 1,
        "requests_burst_max": BURST,
    }
    with beside(side, tmp_path_factory.mktemp("tls"), **more) as running:
        yield running


def calling(hub: Side, papers: Papers, shows: Path | None = None, **more: Any) -> httpx.Client:
    """A client that trusts the authority and perhaps shows a certificate."""
    tls = ssl.create_default_context(cafile=str(papers.ca))
    if shows is not None:
        tls.load_cert_chain(shows)
    return httpx.Client(base_url=hub.address, verify=tls, timeout=30, **more)


def der(file: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(credentials._first(file.read_text()))


def bind(hub: Side, file: Path, stakeholder: str, *scopes: str) -> str:
    with hub.hub.store.write() as connection:
        connection.execute(kept.delete().where(kept.c.digest == tokens.fingerprint(der(file))))
    return tokens.bind(hub.hub.store, stakeholder, der(file), scopes or tokens.SCOPES)


@pytest.mark.broker
def test_a_bound_certificate_opens_what_its_scopes_say_and_no_other_does(hub: Side, papers: Papers) -> None:
    bind(hub, papers.bound, REACH, "receive")
    with calling(hub, papers, papers.bound) as program:
        assert program.get("/v1/outbox").status_code == 200
        refused = program.post("/v1/participants", json={"local_id": "1"})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope")
    with calling(hub, papers, papers.unbound) as program:
        assert program.get("/v1/outbox").status_code == 401, (
            "the same authority signed it, and nobody bound it"
        )
    with calling(hub, papers) as program:
        assert program.get("/v1/outbox").status_code == 401
        assert program.get("/livez").status_code == 200, "nobody has to show one"
    with calling(hub, papers, papers.foreign) as program, pytest.raises(httpx.TransportError):
        program.get("/livez")
    (one,) = [row for row in tokens.listed(hub.hub.store, REACH) if row.kind == "certificate"]
    assert one.used_at is not None
    assert 0 <= time.time() * 1000 - one.used_at < 2 * HOUR_MS


@pytest.mark.broker
def test_it_ends_in_the_middle_of_a_connection(hub: Side, papers: Papers) -> None:
    bind(hub, papers.bound, REACH, "receive")
    with calling(hub, papers, papers.bound) as program:
        assert program.get("/v1/outbox").status_code == 200
        tokens.revoke(hub.hub.store, REACH)
        assert program.get("/v1/outbox").status_code == 401


@pytest.mark.broker
def test_a_token_that_is_shown_besides_counts_alone(hub: Side, papers: Papers) -> None:
    bind(hub, papers.bound, REACH)
    token = tokens.mint(hub.hub.store, HARBOR, ["publish"])
    with calling(hub, papers, papers.bound) as program:
        headers = {"authorization": f"Bearer {token}"}
        assert program.get("/v1/outbox", headers=headers).status_code == 403
        assert program.get("/v1/outbox", headers={"authorization": "Bearer guess"}).status_code == 401


@pytest.mark.broker
def test_a_browser_that_shows_one_is_not_sent_by_other_sites(hub: Side, papers: Papers) -> None:
    bind(hub, papers.bound, REACH)
    with calling(hub, papers, papers.bound) as program:
        for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
            assert program.get("/v1/outbox", headers=headers).status_code == 403
            assert program.post("/v1/events", json={}, headers=headers).status_code == 403


@pytest.mark.broker
def test_no_header_stands_for_a_certificate(hub: Side, papers: Papers, side: Side) -> None:
    bind(hub, papers.bound, REACH)
    text = papers.bound.read_text()
    flat = re.sub(r"\s", "", text[text.index("-----BEGIN CERT") :])
    names = (
        "x-client-cert",
        "x-forwarded-client-cert",
        "x-ssl-client-cert",
        "client-cert",
        "x-arr-clientcert",
    )
    forged = dict.fromkeys(names, flat)
    with calling(hub, papers, headers=forged) as program:
        assert program.get("/v1/outbox").status_code == 401
    assert httpx.get(side.address + "/v1/outbox", headers=forged).status_code == 401


@pytest.mark.broker
def test_by_tls_cookies_are_bound_to_this_host_and_browsers_come_back_by_tls(
    hub: Side, papers: Papers
) -> None:
    assert hub.address.startswith("https://")
    with calling(hub, papers) as browser:
        answer = browser.post("/signin", data={"account": "officer"})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-hub_session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert browser.get("/officer").status_code == 200


@pytest.mark.broker
def test_who_asks_too_often_is_told_when_to_ask_again_and_nobody_else_is(hub: Side, papers: Papers) -> None:
    token, other = (tokens.mint(hub.hub.store, one, ["receive"]) for one in (HARBOR, REACH))
    with calling(hub, papers, headers={"authorization": f"Bearer {token}"}) as program:
        answers = [program.get("/v1/fences/1/1") for _ in range(BURST * 3)]
        refused = [one for one in answers if one.status_code == 429]
        assert {one.status_code for one in answers} == {403, 429}
        assert refused[0].headers["content-type"] == "application/problem+json"
        assert refused[0].json()["code"] == "too-many-requests"
        assert int(refused[0].headers["retry-after"]) >= 1
        told = program.get("/metrics", headers={"authorization": ""}).text
        assert re.search(r'hub_requests_throttled_total\{.*who="program".*\} [1-9]', told)
    with calling(hub, papers, headers={"authorization": f"Bearer {other}"}) as program:
        assert program.get("/v1/outbox").status_code == 200


@pytest.mark.broker
def test_that_somebody_was_here_stands_in_the_log(hub: Side, papers: Papers) -> None:
    name = bind(hub, papers.bound, REACH, "receive")
    with calling(hub, papers, papers.bound) as program:
        program.get("/v1/outbox")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        values = (one.value() for one in records(hub.hub.client["bootstrap.servers"], "access"))
        if any(
            b"visited" in one and name[:24].encode() in one and b"GET /v1/outbox 200" in one for one in values
        ):
            return
    raise AssertionError("no record of the visit")


def test_a_certificate_is_bound_once_and_ends_with_its_last_day(store: Store, papers: Papers) -> None:
    name = tokens.bind(store, REACH, der(papers.bound), ["publish"])
    assert name.startswith(CERTIFICATE)
    with pytest.raises(ValueError, match="already"):
        tokens.bind(store, HARBOR, der(papers.bound))
    with pytest.raises(ValueError, match="scopes"):
        tokens.bind(store, REACH, der(papers.unbound), ["everything"])
    token = tokens.mint(store, REACH)
    newer = tokens.bind(store, REACH, der(papers.unbound), rotation_ms=0)
    assert tokens.check(store, token), "certificates and tokens end apart"
    assert tokens.check_all(store, [name, newer])[0] is None
    assert tokens.check(store, newer) is None, "a fingerprint is no token"
    (row,) = [one for one in tokens.listed(store, REACH) if one.kind == "token"]
    assert tokens.end(store, REACH, row.id)
    assert not tokens.end(store, REACH, row.id)
    assert tokens.check(store, token) is None


def test_the_doctor_says_when_the_webs_certificate_ends(
    papers: Papers, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = settings.load(web_certificate=papers.web)
    assert doctor._web(configured).state == "ok"
    monkeypatch.setattr(doctor, "CERTIFICATE_DAYS_LOW", 10_000)
    assert doctor._web(configured).state == "note"


def test_the_last_use_is_written_once_an_hour(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr(tokens.time, "time_ns", lambda: now)
    token = tokens.mint(store, HARBOR)
    assert tokens.last_used(store) == {}
    written: list[str] = []
    sa.event.listen(
        store.engine,
        "before_cursor_execute",
        lambda *asked: written.append(asked[2]) if asked[2].startswith("UPDATE") else None,
    )
    for _ in range(50):
        tokens.check(store, token)
    assert len(written) == 1
    first = tokens.last_used(store)[HARBOR]
    now += HOUR_MS * 1_000_000
    tokens.check(store, token)
    assert tokens.last_used(store)[HARBOR] == first + HOUR_MS


def test_the_commands_say_what_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_DATA", str(tmp_path))
    monkeypatch.setattr(credentials, "known", lambda *_: None)
    monkeypatch.setenv("HUB_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    for text in ("", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"):
        (tmp_path / "paper.pem").write_text(text)
        found = CliRunner().invoke(app, ["certificate", "reach", str(tmp_path / "paper.pem")])
        assert isinstance(found.exception, BadDescription), found.output


@given(st.lists(st.floats(0, 20), max_size=200), st.integers(1, 50), st.integers(1, 50))
@example([0.48309238802777537, 0.0], 1, 1)  # a second later is a little less than a second later
def test_nobody_gets_more_than_the_bucket_holds(pauses: list[float], per_s: int, burst: int) -> None:
    now = 0.0
    rates = Rates(per_s, burst, lambda: now)
    granted = 0
    for pause in pauses:
        now += pause
        wait = rates.take("one")
        granted += not wait
        assert granted <= burst + per_s * now + 1e-6
        if wait:
            now += wait
            assert rates.take("one") == 0, "after the time that was told there is room"
            granted += 1


def test_buckets_are_bounded_and_apart() -> None:
    rates = Rates(1, 1, lambda: 0.0)
    assert rates.take("a") == 0
    assert rates.take("a") == 1
    assert rates.take("b") == 0
    for number in range(CREDENTIALS_MAX * 2):
        rates.take(f"c{number}")
    assert len(rates._buckets) == CREDENTIALS_MAX


def test_visits_are_told_at_once_and_then_counted() -> None:
    log, now = Log(), 1_800_000_000_000
    visits = Visits(log, lambda: now)  # type: ignore[arg-type]
    who = tokens.Machine(REACH, frozenset(), "0" * 64)

    def bodies() -> list[dict[str, Any]]:
        return [json.loads(one["body"]) for one in log.values("access")]

    visits.saw(who, "GET /v1/outbox 200")
    assert visits.write() == 1
    for _ in range(100):
        visits.saw(who, "GET /v1/outbox 200")
    visits.saw(who, "POST /v1/events 403")
    assert visits.write() == 0, "it was told of already, and is counted"
    now += COUNT_MS
    log.broken = True
    assert visits.write() == 0
    log.broken = False
    assert visits.write() == 1
    assert bodies()[1]["doors"] == {"GET /v1/outbox 200": 100, "POST /v1/events 403": 1}
    assert bodies()[1]["until"] - bodies()[1]["since"] == COUNT_MS
    visits.saw(who, "GET /v1/outbox 200")
    assert visits.write(everybody=True) == 1, "the web stops"
    assert sum(sum(one["doors"].values()) for one in bodies()) == 103
