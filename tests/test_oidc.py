"""Signing in at a county's sign-in service: a real provider, and all that may be wrong with what it says."""

import hmac
import json
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from typer.testing import CliRunner

from hub import doctor, oidc, settings
from hub.accounts import Accounts, BadAccount
from hub.doors import Group
from hub.oidc import LOGOUT, Provider
from hub.person import app, sessions
from hub.sessions import Account, Sessions
from hub.store import Store
from hub.tables import accounts
from hub.tickets import TICKET_S_MAX
from hub.vouched import SignInFailed, Vouched
from schemas.errors import Unavailable
from tests.county_login import GROUPS, SECRET, County, Walker, county
from tests.webside import Side, beside, records

ISSUER, CLIENT, BACK = "https://login.county.example", "hub", "https://hub.county.example/signin/callback"
ROLES = [Group.model_validate(one) for one in GROUPS]


@pytest.fixture(scope="module")
def login() -> Iterator[County]:
    with county() as running:
        yield running


@pytest.fixture(scope="module")
def hub(side: Side, login: County, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    folder = tmp_path_factory.mktemp("county")
    secret = folder / "client-secret"
    secret.write_text(SECRET + "\n")
    more = {
        "demo": False,
        "oidc_issuer": login.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret_file": secret,
        "oidc_name": "Riverbend County",
        "oidc_groups": tuple(ROLES),
    }
    with beside(side, folder / "hub", **more) as running:
        login.tell(f"client {running.address}")
        yield running


def arrived(hub: Side, who: str, **more: Any) -> tuple[Walker, httpx.Response]:
    """Somebody who signed in at the county, and the hub's answer to their return."""
    walker = Walker(**more)
    answer = walker.sign_in(hub.address, who)
    return walker, walker.go("GET", answer.headers["location"])


@pytest.mark.broker
def test_people_sign_in_by_their_groups_and_see_their_own_page(hub: Side) -> None:
    page = httpx.get(hub.address + "/signin")
    assert "Sign in with Riverbend County" in page.text
    for who, home in (("ana", "/cases"), ("imani", "/officer"), ("noor", "/operator")):
        walker, answer = arrived(hub, who)
        with walker:
            assert (answer.status_code, answer.headers["location"]) == (303, home), answer.text
            assert walker.go("GET", hub.address + home).status_code == 200
            kept = walker.jars[httpx.URL(hub.address).netloc.decode()]
            assert set(kept) == {"hub_session"}, "the ticket is gone once it was used"
    written = [one.value() for one in records(hub.hub.client["bootstrap.servers"], "access")]
    assert sum(b"signed-in" in one and b'"by":"oidc"' in one for one in written) >= 3


@pytest.mark.broker
@pytest.mark.parametrize("who", ["stranger", "both"])
def test_who_is_in_no_group_or_in_two_is_not_let_in_and_told_their_number(hub: Side, who: str) -> None:
    walker, answer = arrived(hub, who)
    with walker:
        assert answer.status_code == 403
        assert f"<code>{who}</code>" in answer.text
        assert walker.go("GET", hub.address + "/officer").status_code == 303
        assert walker.go("GET", hub.address + "/operator").status_code == 303
    written = [one.value() for one in records(hub.hub.client["bootstrap.servers"], "access")]
    assert any(b"sign-in-refused" in one for one in written)
    assert not any(who.encode() in one for one in written if b"sign-in-refused" in one)


@pytest.mark.broker
def test_a_return_works_once_in_the_browser_that_left_and_as_it_was_asked_for(hub: Side) -> None:
    walker = Walker()
    with walker, httpx.Client() as thief:
        location = walker.sign_in(hub.address, "imani").headers["location"]
        assert thief.get(location).status_code == 403, "another browser has no ticket"
        netloc = httpx.URL(hub.address).netloc.decode()
        ticket = walker.jars[netloc]["hub_signin"]
        other = location.replace("state=", "state=x")
        assert walker.go("GET", other).status_code == 403
        assert walker.go("GET", location).status_code == 303
        walker.jars[netloc]["hub_signin"] = ticket
        again = walker.go("GET", location)
        assert again.status_code == 403
        assert "begin again" in again.text


@pytest.mark.broker
def test_a_session_that_moves_to_another_kind_of_browser_ends(hub: Side) -> None:
    walker, _ = arrived(hub, "imani", headers={"user-agent": "Firefox of a county desk"})
    with walker:
        cookie = walker.jars[httpx.URL(hub.address).netloc.decode()]["hub_session"]
        assert walker.go("GET", hub.address + "/officer").status_code == 200
        stolen = {"cookie": f"hub_session={cookie}", "user-agent": "something else"}
        assert httpx.get(hub.address + "/officer", headers=stolen).status_code == 303
        assert walker.go("GET", hub.address + "/officer").status_code == 303, "it ended for both"


@pytest.mark.broker
def test_keys_may_change_and_clocks_may_differ_a_little(
    hub: Side, login: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "KEYS_S_MIN", 0)
    login.tell("rotate")
    try:
        for skew, status in ((oidc.SKEW_S_MAX // 2, 303), (oidc.SKEW_S_MAX * 3, 403)):
            login.tell(f"skew {skew}")
            walker, answer = arrived(hub, "noor")
            walker.close()
            assert answer.status_code == status, skew
    finally:
        login.tell("skew 0")


@pytest.mark.broker
def test_who_signs_out_at_the_county_is_signed_out_here(hub: Side, login: County) -> None:
    walker, _ = arrived(hub, "imani")
    with walker:
        assert walker.go("GET", hub.address + "/officer").status_code == 200
        leaving = walker.follow(walker.go("GET", hub.address + "/signin/farewell"))
        form = re.findall(r'name="(xsrf)" (?:type="hidden" )?value="([^"]+)"', leaving.text)
        assert form, leaving.text
        target = login.issuer + "/session/end/confirm"
        done = walker.go("POST", target, data={**dict(form), "logout": "yes"})
        assert done.headers["location"].startswith(hub.address + "/signin")
        until = time.monotonic() + 20
        while walker.go("GET", hub.address + "/officer").status_code == 200:
            assert time.monotonic() < until, "the hub was told, and did nothing"
            time.sleep(0.05)


@pytest.mark.broker
def test_the_doctor_asks_the_service(hub: Side, login: County) -> None:
    assert doctor._sign_in(hub.hub.settings).state == "ok"
    assert doctor._sign_in(hub.hub.settings.model_copy(update={"oidc_groups": ()})).state == "note"
    other = hub.hub.settings.model_copy(update={"oidc_issuer": login.issuer + "/other"})
    assert doctor._sign_in(other).state == "wrong"
    lost = hub.hub.settings.model_copy(update={"oidc_client_secret_file": Path("/nowhere")})
    assert "cannot be read" in doctor._sign_in(lost).says


@pytest.mark.broker
def test_nobody_else_ends_sessions(hub: Side) -> None:
    for token in ("", "x", "a.b.c", "x" * 100_000):
        answer = httpx.post(hub.address + "/signin/ended", data={"logout_token": token})
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})


@pytest.mark.broker
def test_by_the_command_somebody_is_let_in_and_out_again(
    hub: Side, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("hub.person._hub", lambda: _Borrowed(hub))
    run = CliRunner().invoke
    words = ["--subject", "stranger", "--role", "operator", "--name", "Some One"]
    assert run(app, ["add", "some-one", *words]).exit_code == 0
    walker, answer = arrived(hub, "stranger")
    with walker:
        assert answer.headers["location"] == "/operator"
        assert "some-one" in run(app, ["list"]).output
        listed = run(sessions, ["list"]).output
        assert "some-one" in listed
        assert run(sessions, ["end", "--account", "some-one"]).exit_code == 0
        assert walker.go("GET", hub.address + "/operator").status_code == 303
        assert run(sessions, ["end", "--account", "some-one"]).exit_code == 1
        assert isinstance(run(sessions, ["end"]).exception, BadAccount)
    for bad in (
        ["add", "x1", "--subject", "y", "--role", "king", "--name", "X"],
        ["add", "x1", "--subject", "y", "--role", "case-manager", "--name", "X"],
        ["add", "Ana Ruiz", "--subject", "y", "--role", "operator", "--name", "X"],
        ["add", "x1", "--subject", "y", "--role", "operator", "--name", "X", "--stakeholder", "nobody"],
        ["add", "another", *words],
        ["remove", "nobody"],
    ):
        assert isinstance(run(app, bad).exception, BadAccount), bad
    assert run(app, ["remove", "some-one"]).exit_code == 0
    walker, answer = arrived(hub, "stranger")
    walker.close()
    assert answer.status_code == 403


class _Borrowed:
    """The hub of a test, which a command shall not close."""

    def __init__(self, side: Side) -> None:
        self._side = side

    def __enter__(self) -> Any:
        return self._side.hub

    def __exit__(self, *_: object) -> None:
        return


# What the provider says, word by word: one of the tests' own, which says what a real one never would.

KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}, private=True)
OTHER = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"}, private=True)


class Says(Provider):
    """A provider whose answers are given; the hub's side of it is real."""

    def __init__(self, **more: Any) -> None:
        configured = settings.load(
            oidc_issuer=ISSUER, oidc_client_id=CLIENT, web_url="https://hub.county.example", **more
        )
        super().__init__(configured, lambda purpose, data: f"{hash((purpose, data)):064x}", lambda: self.now)
        self.now = 1_800_000_000.0
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": ISSUER + "/authorize",
            "token_endpoint": ISSUER + "/token",
            "jwks_uri": ISSUER + "/keys",
        }
        self.shown: Any = KeySet([KEY]).as_dict(private=False)
        self.token: Any = None
        self.asked: list[str] = []

    async def _ask(self, method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append(url)
        if url.endswith("openid-configuration"):
            return 200, self.metadata
        return (200, self.shown) if url.endswith("/keys") else (200, {"id_token": self.token})

    def signed(self, key: RSAKey = KEY, alg: str = "RS256", **changes: Any) -> str:
        claims = {
            "iss": ISSUER,
            "sub": "ana-1",
            "aud": CLIENT,
            "iat": int(self.now),
            "exp": int(self.now) + 300,
            "name": "Ana Ruiz",
            "groups": ["hub-case-managers"],
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": alg, "kid": key.kid}, claims, key, algorithms=[alg])

    async def come(self, key: RSAKey = KEY, answer: dict[str, str] | None = None, **changes: Any) -> Vouched:
        leaving = await self.leave(BACK)
        asked = dict(httpx.URL(leaving.address).params)
        if self.token is None or changes or key is not KEY:
            self.token = self.signed(key, **{"nonce": asked["nonce"], **changes})
        given = {"state": asked["state"], "code": "c", **(answer or {})}
        return await self.arrive(leaving.ticket, given, BACK)


async def test_what_is_asked_of_the_provider_is_code_with_pkce_state_and_nonce() -> None:
    leaving = await Says().leave(BACK)
    asked = dict(httpx.URL(leaving.address).params)
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert min(len(asked["state"]), len(asked["nonce"])) >= 40
    assert asked["redirect_uri"] == BACK
    hidden = leaving.ticket
    assert all(asked[name] not in hidden for name in ("state", "nonce", "code_challenge"))


async def test_what_the_provider_says_well_is_taken() -> None:
    assert await Says().come() == Vouched(ISSUER, "ana-1", "Ana Ruiz", frozenset({"hub-case-managers"}), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://login.elsewhere.example"},
        {"iss": ISSUER + "/"},
        {"aud": "another-client"},
        {"aud": ["hub", "another-client"]},
        {"aud": None},
        {"azp": "another-client"},
        {"exp": 1_800_000_000 - oidc.SKEW_S_MAX - 1},
        {"exp": None},
        {"iat": 1_800_000_000 + oidc.SKEW_S_MAX + 1},
        {"iat": 1_800_000_000 - oidc.TOKEN_S_MAX - oidc.SKEW_S_MAX - 1},
        {"iat": None},
        {"nbf": 1_800_000_000 + oidc.SKEW_S_MAX + 1},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"key": OTHER},
    ],
    ids=lambda one: "key" if "key" in one else str(one)[:60],
)
async def test_what_is_wrong_with_a_token_keeps_everybody_out(changes: dict[str, Any]) -> None:
    with pytest.raises(SignInFailed) as refused:
        await Says().come(**changes)
    assert "ana" not in refused.value.detail.lower()


async def test_a_clock_that_differs_by_less_than_the_bound_is_no_matter() -> None:
    for changes in ({"exp": 1_800_000_000 - 30}, {"iat": 1_800_000_000 + 30, "nbf": 1_800_000_000 + 30}):
        assert (await Says().come(**changes)).subject == "ana-1"


@pytest.mark.parametrize("alg", ["none", "HS256"])
async def test_no_token_without_a_key_of_the_providers(alg: str) -> None:
    at = Says()
    leaving = await at.leave(BACK)
    asked = dict(httpx.URL(leaving.address).params)
    claims = {"iss": ISSUER, "sub": "ana-1", "aud": CLIENT, "iat": int(at.now), "exp": int(at.now) + 300}
    head, body = (
        urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=")
        for one in ({"alg": alg, "kid": "one"}, claims | {"nonce": asked["nonce"]})
    )
    # the public key taken for a shared secret, which whoever may read it could sign with
    seal = hmac.digest(KEY.as_pem(private=False), head + b"." + body, "sha256") if alg == "HS256" else b""
    at.token = b".".join((head, body, urlsafe_b64encode(seal).rstrip(b"="))).decode()
    with pytest.raises(SignInFailed):
        await at.arrive(leaving.ticket, {"state": asked["state"], "code": "c"}, BACK)


async def test_a_ticket_ends_and_another_issuers_answer_is_not_ours() -> None:
    at = Says()
    with pytest.raises(SignInFailed, match="another"):
        await at.come(answer={"iss": "https://login.elsewhere.example"})
    with pytest.raises(SignInFailed, match="did not let them in"):
        await at.come(answer={"error": "access_denied"})
    with pytest.raises(SignInFailed, match="no code"):
        await at.come(answer={"code": ""})
    leaving = await at.leave(BACK)
    at.now += TICKET_S_MAX + 1
    for ticket in (leaving.ticket, leaving.ticket[:-1] + "0", "", None, "x" * 5_000, "a.9999999999.b"):
        with pytest.raises(SignInFailed):
            await at.arrive(ticket, {"state": "x", "code": "c"}, BACK)


async def test_an_unknown_key_has_the_keys_fetched_again_but_not_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = Says()
    await at.come()
    at.shown = KeySet([KEY, OTHER]).as_dict(private=False)
    with pytest.raises(SignInFailed):
        await at.come(OTHER)
    assert at.asked.count(ISSUER + "/keys") == 1, "asked for again at once"
    monkeypatch.setattr(oidc, "KEYS_S_MIN", 0)
    assert (await at.come(OTHER)).subject == "ana-1"
    at.shown = {"keys": [{"kty": "new-kind"}, "nonsense", {"kty": "oct", "k": "eA"}]}
    with pytest.raises(Unavailable):
        await at.come(RSAKey.generate_key(2048, {"kid": "three"}, private=True))


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": None},
        {"token_endpoint": "http://login.county.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
    ids=str,
)
async def test_a_provider_that_describes_itself_otherwise_is_not_used(change: dict[str, Any]) -> None:
    at = Says()
    at.metadata |= change
    with pytest.raises(Unavailable):
        await at.leave(BACK)


async def test_groups_may_stand_inside_another_claim_and_the_subject_in_another() -> None:
    at = Says(oidc_groups_claim="realm_access.roles", oidc_subject_claim="oid")
    found = await at.come(oid="7c9e", realm_access={"roles": ["officers", 7]})
    assert (found.subject, found.groups) == ("7c9e", frozenset({"officers"}))
    at.token = None
    assert (await at.come(oid="7c9e", realm_access=None)).groups == frozenset()


async def test_a_logout_token_is_checked_like_any_other() -> None:
    at = Says()
    good = {"events": {LOGOUT: {}}, "jti": "1", "sid": "s-1", "nonce": None}
    assert await at.ended(at.signed(**good)) == (ISSUER, "ana-1", "s-1")
    for change in (
        {"events": {}},
        {"events": None},
        {"nonce": "n"},
        {"jti": None},
        {"sub": None, "sid": None},
        {"aud": "another"},
        {"iss": "https://x.example"},
        {"iat": 1_800_000_000 - oidc.TOKEN_S_MAX - 1},
    ):
        with pytest.raises(SignInFailed):
            await at.ended(at.signed(**{**good, **change}))


ANA = Vouched(ISSUER, "ana-1", "Ana Ruiz", frozenset({"hub-case-managers"}), "s-1")


def test_an_account_follows_the_groups_and_ends_with_them(store: Store) -> None:
    known, people = Accounts(store, ROLES), Sessions(store)
    first = known.admit(ANA)
    assert (first.role, first.stakeholder, first.name) == ("case-manager", "reach", "Ana Ruiz")
    assert known.admit(ANA) == first
    cookie = people.open(first.id, "firefox", "s-1")
    promoted = known.admit(Vouched(ISSUER, "ana-1", "Ana Ruiz", frozenset({"hub-officers"}), None))
    assert (promoted.id, promoted.role) == (first.id, "privacy-officer")
    assert people.find(cookie, used=False, agent="firefox") is None, "what she was let in for is gone"
    cookie = people.open(first.id, "firefox")
    with pytest.raises(SignInFailed):
        known.admit(Vouched(ISSUER, "ana-1", "Ana Ruiz", frozenset(), None))
    assert people.find(cookie, used=False, agent="firefox") is None


def test_a_name_wins_over_groups_and_who_was_removed_stays_out(store: Store) -> None:
    known = Accounts(store, ROLES)
    known.add(Account("ana", "operator", "Ana R."), ISSUER, "ana-1")
    assert known.admit(ANA) == Account("ana", "operator", "Ana R.")
    with pytest.raises(BadAccount, match="already"):
        known.add(Account("ana-2", "operator", "Ana R."), ISSUER, "ana-1")
    with pytest.raises(BadAccount, match="somebody else"):
        known.add(Account("ana", "operator", "Ben"), ISSUER, "ben-1")
    known.remove("ana")
    with pytest.raises(SignInFailed):
        known.admit(ANA)
    known.add(Account("ana", "privacy-officer", "Ana R."), ISSUER, "ana-1")
    assert known.admit(ANA).role == "privacy-officer"
    other = Vouched("https://login.elsewhere.example", "ana-1", "Ana", ANA.groups, None)
    assert known.admit(other).id != "ana", "the same number at another service is another person"
    with store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(accounts)).scalar_one() == 2


def test_what_ends_elsewhere_ends_here_and_nothing_else(store: Store) -> None:
    known, people = Accounts(store, ROLES), Sessions(store)
    first = known.admit(ANA).id
    other = known.admit(Vouched(ISSUER, "ben-1", "Ben", frozenset({"hub-officers"}), None)).id
    for account, sid in ((first, "s-1"), (first, "s-2"), (other, "s-3"), (other, None)):
        people.open(account, "", sid)
    assert people.ended_elsewhere("https://login.elsewhere.example", "ana-1", None) == []
    assert people.ended_elsewhere(ISSUER, "ben-1", "s-1") == []
    assert people.ended_elsewhere(ISSUER, "ana-1", "s-1") == [first]
    assert people.ended_elsewhere(ISSUER, None, "s-3") == [other]
    assert people.ended_elsewhere(ISSUER, "ana-1", None) == [first]
    assert [one.account for one in people.listed()] == [other]
    assert people.end(name=people.listed()[0].name) == [other]


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://login.county.example", "oidc_client_id": "hub"},
        {"oidc_issuer": ISSUER},
        {"oidc_client_id": "hub"},
        {"oidc_issuer": ISSUER, "oidc_client_id": "hub", "web_host": "0.0.0.0"},
        {"web_url": "http://hub.county.example"},
        {"web_url": "https://hub.county.example/path"},
        {"oidc_groups": [{"group": "g", "role": "case-manager"}]},
        {"oidc_groups": [{"group": "g", "role": "king"}]},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(settings.SettingsInvalid):
        settings.load(**wrong)


def test_the_secret_comes_from_a_file_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    set_up = {"oidc_issuer": ISSUER, "oidc_client_id": "hub", "oidc_client_secret_file": file}
    file.write_text("s3cret\n")
    assert settings.load(**set_up).client_secret() == "s3cret"
    for bad in (b"", b"two\nlines", b"\xff", b"x" * 5_000):
        file.write_bytes(bad)
        with pytest.raises(ValueError):  # noqa: PT011
            settings.load(**set_up).client_secret()
