"""Who may call what: one table, and nothing outside of it; tokens, sessions, where calls may come from."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import Request
from fastapi.routing import APIRoute

from connectors.direct import Direct
from hub import sessions, settings, tokens
from hub.access import RULES, SAFE_METHODS, Forbidden, Gate, rule_of
from hub.sessions import Account, Sessions
from hub.store import Store
from hub.tables import accounts
from hub.tables import sessions as kept_sessions
from hub.tables import tokens as kept_tokens
from hub.web import create_app, refuse_open_demo
from tests.webside import HARBOR, REACH, Side, records

ROLES = {"case-manager": "case-manager", "privacy-officer": "officer", "operator": "operator"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    made.migrate()
    yield made
    made.close()


def filled(path: str) -> str:
    """A route's path with something in each of its places."""
    return re.sub(r"\{[^}]+\}", "1", path)


def test_every_route_stands_in_the_table_and_every_rule_has_its_route(side: Side) -> None:
    class Parts:
        settings = side.hub.settings
        store = side.hub.store
        sessions = None
        appender = None
        clock_ms = None
        passes = None

    app = create_app(Parts())  # type: ignore[arg-type]
    found: set[tuple[str, str]] = set()
    for route, gates in flat(app.routes, app.router.dependencies):
        assert isinstance(route, APIRoute), f"{route} is not behind the gate"
        asked = [one.dependency for one in gates]  # what the framework runs before each route
        if isinstance(route, Direct):
            asked = [route.guard]  # it runs none of that, but its own
        else:
            assert type(route) is APIRoute, f"{route.path} may not run what stands before it"
        assert any(isinstance(one, Gate) for one in asked), f"{route.path} is not behind the gate"
        found |= {(method, route.path) for method in route.methods}
    assert found == set(RULES)


def flat(routes: Iterable[Any], gates: Sequence[Any]) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Every route, also of routers within routers, with what runs before it."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route, gates
        else:
            yield from flat(inner.routes, route.include_context.dependencies)


def test_what_the_table_opens_to_anyone_is_no_more_than_this() -> None:
    opened = {path for (_, path), rule in RULES.items() if rule.anyone}
    assert all(
        path in {"/", "/docs", "/openapi.json", "/livez", "/readyz", "/metrics", "/signin", "/language"}
        or path in {"/me", "/me/signin", "/me/exit"}  # where a card is asked for
        or path.startswith(("/static/", "/subjects", "/schemas/", "/config"))
        or path in {"/signin/start", "/signin/callback", "/signin/farewell", "/signin/ended"}
        or path.startswith(("/public", "/v1/aggregates"))
        or path in {"/v1/letters", "/v1/letters/states"}
        or path in {"/cases/worker.js", "/cases/offline", "/cases/manifest.webmanifest"}
        for path in opened
    )


@pytest.mark.broker
def test_without_a_token_or_a_session_nothing_opens(side: Side) -> None:
    with side.client() as nobody, side.client(token="hub_guessed") as guesser:
        for (method, path), rule in RULES.items():
            if rule.anyone:
                continue
            for client in (nobody, guesser):
                answer = client.request(method, filled(path))
                if path.startswith(("/v1/", "/log/")):
                    assert answer.status_code == 401, (method, path)
                    assert answer.headers["www-authenticate"].startswith("Bearer")
                    assert answer.headers["content-type"] == "application/problem+json"
                else:
                    assert answer.status_code == 303
                    assert answer.headers["location"].startswith(
                        "/me?" if path.startswith("/me/") else "/signin"
                    )


@pytest.mark.broker
def test_people_open_only_what_is_their_roles(side: Side) -> None:
    for role, account in ROLES.items():
        with side.person(account) as client:
            client.follow_redirects = False
            for (method, path), rule in RULES.items():
                if rule.anyone or role in rule.roles:
                    continue
                answer = client.request(method, filled(path))
                own = path.startswith("/me/")  # a desk's session is nothing there
                assert answer.status_code == (303 if own else 403), (role, method, path)
    refused = [record for record in records(side.hub.client["bootstrap.servers"], "access") if record.value()]
    assert any(
        b"door-refused" in record.value() and b"person:operator" in record.value() for record in refused
    )


@pytest.mark.broker
def test_a_token_does_only_what_its_scopes_say(side: Side) -> None:
    for scope in (*tokens.SCOPES, tokens.AUDIT):
        token = tokens.mint(side.hub.store, REACH, [scope], rotation_ms=tokens.ROTATION_MS)
        with side.client(token=token) as client:
            for (method, path), rule in RULES.items():
                if rule.anyone or rule.scope == scope:
                    continue
                answer = client.request(method, filled(path))
                assert answer.status_code == 403, (scope, method, path)


def test_of_a_token_only_its_hash_is_kept(store: Store) -> None:
    token = tokens.mint(store, HARBOR)
    with store.read() as connection:
        rows = connection.execute(sa.select(kept_tokens)).all()
    assert token not in repr(rows)
    assert tokens.digest(token) in repr(rows)
    assert tokens.check(store, token) == tokens.Machine(HARBOR, tokens.SCOPES)


def test_rotation_interrupts_nothing_and_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tokens.mint(store, HARBOR)
    new = tokens.mint(store, HARBOR, rotation_ms=60_000)
    assert tokens.check(store, old)
    assert tokens.check(store, new)
    later = tokens.time.time_ns() + 61_000 * 1_000_000
    monkeypatch.setattr(tokens.time, "time_ns", lambda: later)
    assert tokens.check(store, old) is None
    assert tokens.check(store, new)
    assert tokens.check(store, tokens.mint(store, HARBOR, rotation_ms=0))
    assert tokens.check(store, new) is None


def test_a_longer_rotation_never_brings_a_token_back(store: Store) -> None:
    old = tokens.mint(store, HARBOR)
    tokens.mint(store, HARBOR, rotation_ms=0)
    tokens.mint(store, HARBOR, rotation_ms=60_000)
    assert tokens.check(store, old) is None


def test_revoked_and_garbage_tokens_open_nothing(store: Store) -> None:
    token = tokens.mint(store, HARBOR)
    assert tokens.revoke(store, HARBOR) == 1
    for shown in (token, "", "hub_", "x" * 10_000, token[:-1], token.upper()):
        assert tokens.check(store, shown) is None
    with pytest.raises(ValueError, match="scopes"):
        tokens.mint(store, HARBOR, ["everything"])


class Clock:
    now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sessions, "_now", made)
    return made


@pytest.fixture
def people(store: Store) -> Sessions:
    made = Sessions(store)
    made.offer([Account("officer", "privacy-officer", "Imani Brooks")])
    return made


def test_a_session_left_alone_ends(people: Sessions, clock: Clock) -> None:
    cookie = people.open("officer")
    clock.now += sessions.IDLE_MS_MAX - 1
    assert people.find(cookie, used=True)
    clock.now += sessions.IDLE_MS_MAX - 1
    assert people.find(cookie, used=False), "what the person did a while ago still counts"
    clock.now += 2
    assert people.find(cookie, used=True) is None


def test_a_page_that_refreshes_itself_keeps_no_session_alive(people: Sessions, clock: Clock) -> None:
    cookie = people.open("officer")
    for _ in range(40):
        clock.now += sessions.IDLE_MS_MAX // 40 + 1
        people.find(cookie, used=False)
    assert people.find(cookie, used=False) is None


def test_no_session_is_longer_than_a_shift(people: Sessions, clock: Clock) -> None:
    cookie = people.open("officer")
    for _ in range(sessions.SESSION_MS_MAX // sessions.IDLE_MS_MAX * 2):
        clock.now += sessions.IDLE_MS_MAX // 2
        people.find(cookie, used=True)
    clock.now += 1
    assert people.find(cookie, used=True) is None


def test_of_a_cookie_only_its_hash_is_kept(store: Store, people: Sessions) -> None:
    cookie = people.open("officer")
    with store.read() as connection:
        assert cookie not in repr(connection.execute(sa.select(kept_sessions)).all())
    person = people.find(cookie, used=False)
    assert person is not None
    assert (person.account, person.role) == ("officer", "privacy-officer")
    people.close(person.session)
    assert people.find(cookie, used=False) is None


def test_without_the_demo_its_accounts_are_gone_with_their_sessions(store: Store, people: Sessions) -> None:
    cookie = people.open("officer")
    people.offer([])
    assert people.find(cookie, used=False) is None
    assert people.offered() == []
    with pytest.raises(KeyError):
        people.open("officer")
    with store.read() as connection:
        assert connection.execute(sa.select(accounts.c.disabled_at)).scalar_one() is not None


def test_a_demo_refuses_to_be_reached_from_elsewhere() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.10", "hub.example.org"):
        with pytest.raises(Exception, match="this machine alone"):
            settings.load(demo=True, web_host=host)
    reachable = settings.load(demo=False, web_host="0.0.0.0").model_copy(update={"demo": True})
    with pytest.raises(ValueError, match="this machine alone"):
        refuse_open_demo(reachable)


@pytest.mark.broker
def test_a_foreign_name_for_this_machine_is_not_answered(side: Side) -> None:
    port = side.address.rpartition(":")[2]
    for name, status in (
        (f"127.0.0.1:{port}", 200),
        (f"localhost:{port}", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        (f"127.0.0.1.evil.example:{port}", 421),
    ):
        answer = httpx.get(side.address + "/livez", headers={"host": name})
        assert answer.status_code == status, name


@pytest.mark.broker
def test_other_sites_can_send_nothing_on_a_persons_behalf(side: Side) -> None:
    with side.person("officer") as officer:
        officer.follow_redirects = False
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": "https://evil.example"},
            {"origin": "null"},
        ):
            assert officer.post("/v1/directives", json={}, headers=headers).status_code == 403
            assert officer.post("/signin", data={"account": "operator"}, headers=headers).status_code == 403
            assert officer.post("/signout", headers=headers).status_code == 403
        del officer.headers["x-csrf-token"]
        for data in ({}, {"csrf": ""}, {"csrf": "guessed"}):
            assert officer.post("/signout", data=data).status_code == 403
            assert officer.post("/v1/directives", json=data).status_code == 403
        assert officer.get("/officer").status_code == 200


@pytest.mark.broker
def test_every_door_by_which_something_changes_wants_a_form_of_this_session_and_site(side: Side) -> None:
    changing = [rule for rule in RULES.values() if rule.method not in SAFE_METHODS]
    for role, account in ROLES.items():
        with side.person(account) as client, side.client(cookies=client.cookies) as without:
            client.follow_redirects = False
            for rule in changing:
                if role not in rule.roles:
                    continue
                path = filled(rule.path)
                for token in ({}, {"x-csrf-token": ""}, {"x-csrf-token": "guessed"}):
                    answer = without.request(rule.method, path, headers=token)
                    assert answer.status_code == 403, (role, rule.path, token)
                for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
                    answer = client.request(rule.method, path, headers=headers)
                    assert answer.status_code == 403, (role, rule.path, headers)
            assert client.get("/").headers["location"] in {"/cases", "/officer", "/operator"}
    with side.client() as nobody:
        for rule in changing:
            if rule.anyone:
                answer = nobody.request(
                    rule.method, filled(rule.path), headers={"sec-fetch-site": "cross-site"}
                )
                assert answer.status_code == 403, rule.path


@pytest.mark.broker
def test_what_the_table_opens_to_a_role_or_a_scope_is_open(side: Side) -> None:
    for role, account in ROLES.items():
        with side.person(account) as client:
            client.follow_redirects = False
            for (method, path), rule in RULES.items():
                if method != "GET" or role not in rule.roles:
                    continue
                with client.stream(method, filled(path)) as answer:
                    assert answer.status_code not in {401, 403, 405}, (role, path)
                    assert answer.headers.get("location", "")[:7] != "/signin", (role, path)
    for scope in (*tokens.SCOPES, tokens.AUDIT):
        token = tokens.mint(side.hub.store, REACH, [scope])
        with side.client(token=token) as client:
            for (method, path), rule in RULES.items():
                if rule.scope != scope:
                    continue
                with client.stream(method, filled(path)) as answer:
                    if answer.status_code == 403:
                        answer.read()
                        assert answer.json()["code"] not in {"scope", "people-only"}, (scope, path)
                    assert answer.status_code not in {401, 405}, (scope, path)


def test_a_route_that_nobody_put_into_the_table_is_closed() -> None:
    class Route:
        path = "/v1/new"

    scope = {"type": "http", "method": "GET", "path": "/v1/new", "headers": [], "route": Route()}
    with pytest.raises(Forbidden, match="not open to anybody"):
        rule_of(Request(scope))
    with pytest.raises(Forbidden):
        rule_of(Request({**scope, "method": "DELETE", "path": "/livez", "route": None}))


@pytest.mark.broker
def test_signing_out_ends_the_session_everywhere(side: Side) -> None:
    with side.person("officer") as officer:
        cookie = officer.cookies["hub_session"]
        assert officer.post("/signout").url.path == "/signin"
        with side.client(cookies={"hub_session": cookie}) as thief:
            assert thief.get("/officer").status_code == 303


@pytest.mark.broker
def test_a_cookie_is_for_browsers_alone_and_for_this_site_alone(side: Side) -> None:
    with side.client() as client:
        cookie = client.post("/signin", data={"account": "officer"}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "max-age=43200" in cookie


@pytest.mark.broker
def test_every_answer_carries_the_headers(side: Side) -> None:
    with side.client() as client:
        for path in ("/", "/signin", "/livez", "/v1/events/x", "/nope", "/static/hub.css", "/docs"):
            answer = client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == ("no-cache" if "static" in path else "no-store")
            assert "server" not in answer.headers


@pytest.mark.broker
def test_nobody_is_sent_elsewhere_after_choosing_a_language(side: Side) -> None:
    with side.client() as client:
        for back in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""):
            answer = client.post("/language", data={"language": "es", "back": back})
            assert answer.headers["location"] == "/"
        assert (
            client.post("/language", data={"language": "es", "back": "/docs"}).headers["location"] == "/docs"
        )


@pytest.mark.broker
def test_who_signs_in_is_written_down(side: Side) -> None:
    with side.person("operator"):
        written = [record.value() for record in records(side.hub.client["bootstrap.servers"], "access")]
    assert any(b"signed-in" in value and b"person:operator" in value for value in written)
    with side.client() as client:
        assert client.post("/signin", data={"account": "root"}).status_code == 403
