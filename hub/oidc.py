"""The county's sign-in service: OpenID Connect, by authorization code with PKCE (OpenID Connect Core, 3.1).

What goes along and comes back is in `hub/tickets.py`, what is read of claims in `hub/vouched.py`.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.claims import JWTClaims
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import OpenIDProviderMetadata, get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from hub.doors import Doors, is_loopback
from hub.tickets import Tickets
from hub.vouched import SignInFailed, Vouched, vouched
from schemas import strict
from schemas.errors import HubError, Unavailable

SCOPES: Final = "openid profile"
ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
)
SKEW_S_MAX: Final = 60  # by which the provider's clock and ours may differ
TOKEN_S_MAX: Final = 300  # how old what it says may be when it comes
ANSWER_S_MAX: Final = 5
ANSWER_BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 50
METADATA_S_MAX: Final = 3_600
KEYS_S_MIN: Final = 10  # a key that nobody knows makes us ask for the keys no more often
TOKEN_CHARS_MAX: Final = 64 * 1024
CODE_CHARS_MAX: Final = 4_096
AT_ONCE_MAX: Final = 8  # returns that wait for the provider
LOGOUT: Final = "http://schemas.openid.net/event/backchannel-logout"


class Leaving(NamedTuple):
    """Where to send a browser, and the ticket that it keeps until it comes back."""

    address: str
    ticket: str


class Ended(NamedTuple):
    """Whose sessions ended at the provider: of one subject, of one of its sessions, or both."""

    issuer: str
    subject: str | None
    sid: str | None


class Provider:
    """One provider, its description and keys as they were when last asked for."""

    def __init__(
        self, settings: Doors, mac: Callable[[str, bytes], str], clock_s: Callable[[], float] = time.time
    ) -> None:
        """In: settings that name a provider; what makes keyed hashes for a purpose.

        Raises `OSError` or `ValueError` where the client's secret or the authorities cannot be read.
        """
        assert settings.oidc_issuer is not None
        assert settings.oidc_client_id is not None
        self._settings = settings
        self._issuer = settings.oidc_issuer
        self._client = settings.oidc_client_id
        self._secret = settings.client_secret()
        self._tls = ssl.create_default_context(cafile=settings.oidc_ca)
        self._tickets = Tickets(mac, clock_s)
        self._clock_s = clock_s
        self._described: tuple[float, OpenIDProviderMetadata] | None = None
        self._keys: KeySet | None = None
        self._keys_at = float("-inf")
        self._room = asyncio.Semaphore(AT_ONCE_MAX)

    async def leave(self, back: str) -> Leaving:
        """Begin to sign somebody in who shall come back to the address `back`. Raises `Unavailable`."""
        described = await self._metadata()
        ticket = self._tickets.new()
        address = prepare_grant_uri(
            described["authorization_endpoint"],
            client_id=self._client,
            response_type="code",
            redirect_uri=back,
            scope=SCOPES,
            state=self._tickets.made("state", ticket),
            nonce=self._tickets.made("nonce", ticket),
            code_challenge=create_s256_code_challenge(self._tickets.made("verifier", ticket)),
            code_challenge_method="S256",
        )
        return Leaving(address, self._tickets.sealed(ticket))

    async def arrive(self, ticket: str | None, answer: Mapping[str, str], back: str) -> Vouched:
        """What the provider says about who came back with this ticket and this answer.

        Raises `SignInFailed` for whatever is not as it should be, `Unavailable` without the provider.
        """
        ticket = self._tickets.use(ticket, answer.get("state", ""))
        # RFC 9207: an answer that names another issuer was not meant for us
        if answer.get("iss", self._issuer) != self._issuer:
            raise SignInFailed("this comes from another sign-in service", code="wrong-issuer")
        if "error" in answer:
            raise SignInFailed("the sign-in service did not let them in", code="provider-refused")
        code = answer.get("code", "")
        if not 0 < len(code) <= CODE_CHARS_MAX:
            raise SignInFailed("there is no code in the return", code="no-code")
        if self._room.locked():
            raise Unavailable("too many people come back at once; try again")
        async with self._room:
            tokens = await self._redeem(code, self._tickets.made("verifier", ticket), back)
            claims = await self._verified(tokens, self._tickets.made("nonce", ticket))
        return vouched(claims, self._settings)

    async def ended(self, token: str) -> Ended:
        """What a logout token says (OpenID Connect Back-Channel Logout 1.0, 2.6).

        Raises `SignInFailed` where it is not one of the provider's, or too old.
        """
        with _jose("logout-token"):
            found = await self._decoded(token)
            now = int(self._clock_s())
            claims = JWTClaims(found.claims, found.header, self._expected())
            claims.validate(now, SKEW_S_MAX)
            events, subject, sid = claims.get("events"), claims.get("sub"), claims.get("sid")
            fits = (
                isinstance(events, dict)
                and isinstance(events.get(LOGOUT), dict)
                and "nonce" not in claims
                and isinstance(claims.get("jti"), str)
                and (isinstance(subject, str) or isinstance(sid, str))
                and now - claims["iat"] <= TOKEN_S_MAX
            )
        if not fits:
            raise SignInFailed("this is not a logout token", code="logout-token")
        # what the provider calls them in `oid` is in no logout token: then its session says who it was
        by_subject = isinstance(subject, str) and self._settings.oidc_subject_claim == "sub"
        return Ended(self._issuer, subject if by_subject else None, sid if isinstance(sid, str) else None)

    async def check(self) -> int:
        """How many keys the provider signs with now, asked afresh. Raises `Unavailable`."""
        self._described = None
        return len(list(await self._known_keys(again=True)))

    async def farewell(self, back: str) -> str | None:
        """Where somebody signs out of the provider too (RP-Initiated Logout 1.0), if it has such a place."""
        described = await self._metadata()
        place = described.get("end_session_endpoint")
        if not isinstance(place, str) or not self._reachable(place):
            return None
        return f"{place}?{urlencode({'client_id': self._client, 'post_logout_redirect_uri': back})}"

    async def _redeem(self, code: str, verifier: str, back: str) -> dict[str, Any]:
        """The tokens for a code (RFC 6749, 4.1.3)."""
        described = await self._metadata()
        methods = described.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        client, secret, method = self._client, self._secret, "none"
        if secret is not None and ("client_secret_basic" in methods or "client_secret_post" not in methods):
            # RFC 6749, 2.3.1 encodes both first, which Authlib leaves to us
            client, secret, method = quote_plus(client), quote_plus(secret), "client_secret_basic"
        elif secret is not None:
            method = "client_secret_post"
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": verifier,
        }
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        url, headers, body = ClientAuth(client, secret, method).prepare(
            "POST", described["token_endpoint"], headers, urlencode(form)
        )
        status, answer = await self._ask("POST", url, content=body, headers=headers)
        if status != 200 or not isinstance(answer.get("id_token"), str):
            raise SignInFailed("the sign-in service does not take the code", code="code-refused")
        return answer

    async def _verified(self, tokens: Mapping[str, Any], nonce: str) -> CodeIDToken:
        """The claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7)."""
        with _jose("id-token"):
            found = await self._decoded(tokens["id_token"])
            claims = CodeIDToken(
                found.claims,
                found.header,
                self._expected(),
                {"nonce": nonce, "client_id": self._client, "access_token": tokens.get("access_token")},
            )
            now = int(self._clock_s())
            claims.validate(now, SKEW_S_MAX)
        if now - claims["iat"] > TOKEN_S_MAX + SKEW_S_MAX:
            raise SignInFailed("what the sign-in service says is too old", code="id-token")
        return claims

    def _expected(self) -> dict[str, Any]:
        return {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client},
            "iat": {"essential": True},
        }

    async def _decoded(self, token: str) -> jwt.Token:
        """A token whose signature holds, by the keys known or, where its key is new, by those of now."""
        if len(token) > TOKEN_CHARS_MAX:
            raise SignInFailed("this token is too long", code="id-token")
        for again in (False, True):
            keys = await self._known_keys(again)
            try:
                return jwt.decode(token, keys, algorithms=ALGORITHMS)
            except (JoseError, ValueError):
                if again:
                    raise
        raise AssertionError("unreachable")

    async def _known_keys(self, again: bool) -> KeySet:
        """The provider's keys; asked for again where that was long enough ago. Raises `Unavailable`."""
        now = time.monotonic()
        if self._keys is not None and (not again or now - self._keys_at < KEYS_S_MIN):
            return self._keys
        described = await self._metadata()
        status, answer = await self._ask("GET", described["jwks_uri"])
        listed = answer.get("keys")
        if status != 200 or not isinstance(listed, list):
            raise Unavailable("the sign-in service shows no keys")
        found: list[Key] = []
        for one in listed[:KEYS_MAX]:
            try:
                if isinstance(one, dict) and one.get("use", "sig") == "sig" and one.get("kty") != "oct":
                    found.append(JWKRegistry.import_key(one))
            except (JoseError, ValueError, TypeError):
                continue  # RFC 7517, 5: what is not understood is left out
        if not found:
            raise Unavailable("the sign-in service shows no key that can be used")
        self._keys, self._keys_at = KeySet(found), now
        return self._keys

    async def _metadata(self) -> OpenIDProviderMetadata:
        """The provider's description of itself (OpenID Connect Discovery 1.0, 4). Raises `Unavailable`."""
        now = time.monotonic()
        if self._described is not None and now - self._described[0] < METADATA_S_MAX:
            return self._described[1]
        status, answer = await self._ask("GET", get_well_known_url(self._issuer, external=True))
        described = OpenIDProviderMetadata(answer)
        if status != 200 or described.get("issuer") != self._issuer:
            raise Unavailable("the sign-in service calls itself something else than `oidc_issuer`")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            place = described.get(name)
            if not isinstance(place, str) or not self._reachable(place):
                raise Unavailable(f"the sign-in service has no `{name}` that can be used")
        self._described = now, described
        return described

    def _reachable(self, place: str) -> bool:
        """By TLS; in the clear where the issuer itself is on this machine."""
        url = urlsplit(place)
        plain = self._issuer.startswith("http:") and is_loopback(url.hostname or "")
        return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and plain))

    async def _ask(self, method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer, within bounds; redirects are not followed."""
        try:
            async with (
                asyncio.timeout(ANSWER_S_MAX),
                httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=ANSWER_S_MAX) as client,
                client.stream(method, url, **more) as answer,
            ):
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Unavailable("the sign-in service says too much")
                value = strict.load(bytes(body)) if body else {}
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            raise Unavailable("the sign-in service does not answer") from None
        except HubError as error:
            raise error if isinstance(error, Unavailable) else Unavailable("it answers no JSON") from None
        return answer.status_code, value if isinstance(value, dict) else {}


@contextmanager
def _jose(code: str) -> Iterator[None]:
    """What is wrong with a token becomes a refusal that quotes nothing of it."""
    try:
        yield
    except (JoseError, ValueError, TypeError, KeyError):
        raise SignInFailed("what the sign-in service says does not hold", code=code) from None
