"""Who may call what. One table says it for every route; what does not stand there is refused.

`Gate` runs before every route: it finds out who is asking, looks the route up, and checks besides that what
is sent with a person's cookie comes from our own pages.
"""

import hmac
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from prometheus_client import Counter

from connectors.together import Together
from hub import peer
from hub.addresses import Addresses
from hub.parts import Parts
from hub.passes import COOKIE as VISIT
from hub.passes import LEFT, Passes, Visitor
from hub.rates import Rates
from hub.recent import Recent
from hub.sessions import Person, Sessions, cookie_name
from hub.store import Store
from hub.tokens import CERTIFICATE, Machine, check_all, fingerprint, shown, standing
from schemas.errors import Refused, TooLarge

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CASE_MANAGER: Final = frozenset({"case-manager"})
OFFICER: Final = frozenset({"privacy-officer"})
OPERATOR: Final = frozenset({"operator"})
PARTICIPANT: Final = frozenset({"participant"})  # on their own page, by their card; see `hub/passes.py`
OWN: Final = "/me"
EXIT: Final = "/me/exit"
FORM_FIELDS_MAX: Final = 20
LONG_FORM_FIELDS_MAX: Final = 300  # where every organisation has its lines
FORM_BYTES_MAX: Final = 1024 * 1024
together_max: Final = 64  # tokens that are looked up by one question

_throttled = Counter("hub_requests_throttled_total", "Requests answered 429, by who asked", ["who"])


class Unauthenticated(Exception):
    """Nobody is known to ask: no token or session, or one that ended."""


class Forbidden(Exception):
    """Somebody known asks for what is not theirs. `code` is a constant, `detail` says it to them."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TooMany(Exception):
    """Somebody asks more often than one may. `wait_s` says when to ask again, in seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("too many requests")
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use one route: anyone, programs whose token has `scope`, people of these roles.

    `passive` marks what a page asks for by itself, which does not keep a session from ending. `fields_max` is
    how many fields its form may have, `upload` whether one of them may be a file. `public` marks what is
    for everybody, of which one address may not ask without end. `recent` lets in by a credential that was
    good a moment ago, where only something is handed in; see `hub/recent.py`.
    """

    method: str
    path: str
    anyone: bool = False
    scope: str | None = None
    roles: frozenset[str] = frozenset()
    passive: bool = False
    fields_max: int = FORM_FIELDS_MAX
    upload: bool = False
    public: bool = False
    recent: bool = False


def _rules() -> dict[tuple[str, str], Rule]:
    everybody = CASE_MANAGER | OFFICER | OPERATOR
    rules = (
        Rule("GET", "/", anyone=True),
        Rule("GET", "/signin", anyone=True),
        Rule("POST", "/signin", anyone=True),
        Rule("GET", "/signin/start", anyone=True),
        Rule("GET", "/signin/callback", anyone=True),
        Rule("GET", "/signin/farewell", anyone=True),
        Rule("POST", "/signin/ended", anyone=True),  # by the provider, whose token says so
        Rule("POST", "/language", anyone=True),
        Rule("POST", "/signout", roles=everybody),
        Rule("GET", "/static/{name}", anyone=True),
        # What was published is for everybody, and everybody may write a letter.
        Rule("GET", "/public", anyone=True, public=True),
        Rule("GET", "/public/rules", anyone=True, public=True),
        Rule("GET", "/public/measures/{name}", anyone=True, public=True),
        Rule("GET", "/public/charts/{name}.svg", anyone=True, public=True),
        Rule("GET", "/public/equity", anyone=True, public=True),
        Rule("GET", "/public/embed/{name}", anyone=True, public=True),
        Rule("GET", "/v1/aggregates", anyone=True, public=True),
        Rule("GET", "/v1/aggregates/dictionary", anyone=True, public=True),
        Rule("GET", "/public/letters", anyone=True, public=True),
        Rule("POST", "/public/letters", anyone=True, public=True),
        Rule("GET", "/public/letters/{kind}", anyone=True, public=True),
        Rule("POST", "/public/letters/{kind}", anyone=True, public=True),
        Rule("POST", "/v1/letters", anyone=True, public=True),
        Rule("POST", "/v1/letters/states", anyone=True, public=True),
        Rule("GET", "/cases", roles=CASE_MANAGER),
        Rule("GET", "/cases/alerts", roles=CASE_MANAGER, passive=True),
        Rule("GET", "/cases/alerts/{alert}", roles=CASE_MANAGER),
        Rule("POST", "/cases/alerts/{alert}/{act}", roles=CASE_MANAGER),
        Rule("POST", "/cases/looks", roles=CASE_MANAGER, passive=True),
        Rule("GET", "/cases/letters", roles=CASE_MANAGER),
        Rule("GET", "/cases/letters/{letter}", roles=CASE_MANAGER),
        Rule("POST", "/cases/letters/{letter}/{act}", roles=CASE_MANAGER),
        Rule("GET", "/cases/people", roles=CASE_MANAGER),
        Rule("POST", "/cases/people", roles=CASE_MANAGER),
        Rule("GET", "/cases/caseload", roles=CASE_MANAGER, passive=True),
        Rule("GET", "/cases/people/{person}", roles=CASE_MANAGER),
        Rule("GET", "/cases/people/{person}/timeline", roles=CASE_MANAGER, passive=True),
        Rule("GET", "/cases/people/{person}/consent", roles=CASE_MANAGER),
        Rule(
            *("POST", "/cases/people/{person}/consent"),
            roles=CASE_MANAGER,
            fields_max=LONG_FORM_FIELDS_MAX,
            upload=True,
        ),
        Rule("GET", "/cases/people/{person}/receipts/{consent}", roles=CASE_MANAGER),
        Rule("GET", "/cases/people/{person}/receipts/{consent}/paper", roles=CASE_MANAGER),
        Rule("GET", "/cases/people/{person}/receipts/{consent}/form", roles=CASE_MANAGER),
        Rule("POST", "/cases/people/{person}/card", roles=CASE_MANAGER),
        Rule("GET", "/cases/wishes", roles=CASE_MANAGER),
        Rule("POST", "/cases/wishes", roles=CASE_MANAGER),
        Rule("POST", "/cases/devices", roles=CASE_MANAGER),
        Rule("POST", "/cases/devices/removals", roles=CASE_MANAGER),
        # What makes the pages installable says nothing about anybody.
        Rule("GET", "/cases/worker.js", anyone=True),
        Rule("GET", "/cases/offline", anyone=True),
        Rule("GET", "/cases/manifest.webmanifest", anyone=True),
        # A participant's own page opens with their card; without it one may be asked for it, and leave.
        Rule("GET", "/me", anyone=True),
        Rule("POST", "/me/signin", anyone=True),
        Rule("POST", "/me/exit", anyone=True),
        Rule("POST", "/me/signout", roles=PARTICIPANT),
        Rule("GET", "/me/disclosures", roles=PARTICIPANT),
        Rule("GET", "/me/receipts/{consent}", roles=PARTICIPANT),
        Rule("GET", "/me/receipts/{consent}/form", roles=PARTICIPANT),
        Rule("POST", "/me/revocations", roles=PARTICIPANT),
        Rule("POST", "/me/restrictions", roles=PARTICIPANT),
        Rule("POST", "/me/liftings", roles=PARTICIPANT),
        Rule("POST", "/me/requests", roles=PARTICIPANT),
        Rule("POST", "/me/helpers", roles=PARTICIPANT),
        Rule("POST", "/me/helpers/ends", roles=PARTICIPANT),
        Rule("GET", "/me/fences/{partition}/{offset}", roles=PARTICIPANT, passive=True),
        Rule("GET", "/officer", roles=OFFICER),
        Rule("GET", "/officer/decisions", roles=OFFICER, passive=True),
        Rule("GET", "/officer/why", roles=OFFICER),
        Rule("GET", "/officer/consents", roles=OFFICER),
        Rule("GET", "/officer/consents/newest", roles=OFFICER, passive=True),
        Rule("GET", "/officer/waiting", roles=OFFICER),
        Rule("POST", "/officer/emergencies/{emergency}/reviews", roles=OFFICER),
        Rule("GET", "/officer/unusual", roles=OFFICER),
        Rule("GET", "/officer/participants", roles=OFFICER),
        Rule("POST", "/officer/participants", roles=OFFICER),
        Rule("GET", "/officer/participants/{person}", roles=OFFICER),
        Rule("POST", "/officer/participants/{person}/names", roles=OFFICER),
        Rule("GET", "/officer/participants/{person}/disclosures", roles=OFFICER),
        Rule("GET", "/officer/participants/{person}/disclosures/{form}", roles=OFFICER),
        Rule("GET", "/officer/participants/{person}/consents/{consent}/form", roles=OFFICER),
        Rule("GET", "/officer/orders", roles=OFFICER),
        Rule("POST", "/officer/orders/{order}/approvals", roles=OFFICER),
        Rule("POST", "/officer/orders/{order}/rejections", roles=OFFICER),
        Rule("GET", "/officer/requests", roles=OFFICER),
        Rule("POST", "/officer/requests", roles=OFFICER),
        Rule("GET", "/officer/requests/{name}", roles=OFFICER),
        Rule("POST", "/officer/requests/{name}/{act}", roles=OFFICER),
        Rule("GET", "/operator", roles=OPERATOR),
        Rule("GET", "/operator/stages", roles=OPERATOR, passive=True),
        Rule("POST", "/v1/events", scope="publish", recent=True),
        Rule("POST", "/v1/fhir", scope="publish"),
        Rule("POST", "/v1/fhir/{kind}", scope="publish"),
        Rule("GET", "/v1/events/{event}", scope="publish"),
        Rule("POST", "/v1/quarantine", scope="publish"),
        Rule("POST", "/v1/directives", scope="directives", roles=OFFICER),
        Rule("GET", "/v1/directives/{directive}", scope="directives", roles=OFFICER),
        Rule("POST", "/v1/directives/{directive}/approvals", roles=OFFICER),
        Rule("POST", "/v1/submissions", scope="directives"),
        Rule("POST", "/v1/participants", scope="participants"),
        Rule("POST", "/v1/participants/{participant}/links", scope="participants"),
        Rule("POST", "/v1/consents", scope="directives"),
        Rule("GET", "/v1/consents/{consent}", scope="directives", roles=OFFICER),
        Rule("POST", "/v1/consents/{consent}/revocations", scope="directives"),
        Rule("GET", "/v1/fences/{partition}/{offset}", scope="directives", roles=OFFICER),
        Rule("GET", "/v1/outbox", scope="receive"),
        Rule("GET", "/v1/alerts/stream", scope="alerts", roles=CASE_MANAGER, passive=True),
        Rule("GET", "/log/checkpoint", scope="audit"),
        Rule("GET", "/log/tile/{path:path}", scope="audit"),
        # Schemas, health and the interface's description say nothing about anybody.
        Rule("GET", "/subjects", anyone=True),
        Rule("GET", "/subjects/{subject}/versions", anyone=True),
        Rule("GET", "/subjects/{subject}/versions/{version}", anyone=True),
        Rule("GET", "/subjects/{subject}/versions/{version}/schema", anyone=True),
        Rule("POST", "/subjects/{subject}", anyone=True),
        Rule("GET", "/schemas/ids/{id}", anyone=True),
        Rule("GET", "/schemas/ids/{id}/versions", anyone=True),
        Rule("GET", "/schemas/types", anyone=True),
        Rule("GET", "/config", anyone=True),
        Rule("GET", "/config/{subject}", anyone=True),
        Rule("GET", "/livez", anyone=True),
        Rule("GET", "/readyz", anyone=True),
        Rule("GET", "/metrics", anyone=True),
        Rule("GET", "/docs", anyone=True),
        Rule("GET", "/openapi.json", anyone=True),
    )
    table = {(rule.method, rule.path): rule for rule in rules}
    assert len(table) == len(rules), "a route stands twice in the table"
    return table


RULES: Final = _rules()


def rule_of(request: Request) -> Rule:
    """The rule of the route that is being called. Raises `Forbidden` where the table has none."""
    route = request.scope.get("route")
    method = "GET" if request.method == "HEAD" else request.method
    rule = RULES.get((method, getattr(route, "path", "")))
    if rule is None:
        raise Forbidden("no-such-door", "this address is not open to anybody")
    return rule


class Gate:
    """The dependency of every route. Afterwards `request.state.principal` is who asks, or None."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        passes: Passes,
        rates: Rates,
        addresses: Addresses,
        *,
        secure: bool,
    ) -> None:
        """In: the store, sessions, cards; how often each who is known may ask, and each address on the public
        pages; whether people reach the web by TLS."""
        self._sessions = sessions
        self._passes = passes
        self._rates = rates
        self._addresses = addresses
        self._cookie = cookie_name(secure)
        self._machines = Together(partial(check_all, store), together_max)
        self._recent = Recent(self._machines.ask)

    async def __call__(self, request: Request) -> None:
        """Let the call through, or raise `Unauthenticated`, `Forbidden` or `TooMany`."""
        rule = rule_of(request)
        principal = await self._principal(request, rule)
        request.state.principal = principal
        if principal is not None:
            self._bounded(principal)
        elif rule.public and (wait := self._addresses.take(request)):
            _throttled.labels("anybody").inc()
            raise TooMany(wait)
        if isinstance(principal, Machine) and principal.credential.startswith(CERTIFICATE):
            _same_origin(request)  # a browser shows its certificate wherever another site sends it
        if request.method not in SAFE_METHODS and not isinstance(principal, Machine):
            if rule.anyone or principal is not None:
                _same_origin(request)
            if principal is not None and not rule.anyone:
                await _our_form(request, principal.csrf, rule)
        if rule.anyone:
            return
        if principal is None:
            raise Unauthenticated
        _permitted(rule, principal)

    async def _principal(self, request: Request, rule: Rule) -> Machine | Person | Visitor | None:
        header = request.headers.get("authorization")
        ask = self._recent.ask if rule.recent else self._machines.ask
        if header is not None:
            scheme, _, token = header.partition(" ")
            machine = await ask(shown(token.strip()))
            if scheme.lower() != "bearer" or machine is None:
                if rule.anyone:
                    return None
                raise Unauthenticated
            return machine
        own = rule.path == OWN or rule.path.startswith(f"{OWN}/")
        cookie = request.cookies.get(VISIT if own else self._cookie)
        if not cookie:
            certificate = peer.certificate(request.scope)
            return None if certificate is None else await ask(fingerprint(certificate))
        used = not rule.passive or request.query_params.get("by") == "hand"
        if own and LEFT in request.cookies and rule.path != EXIT:
            return None
        if own:
            return await run_in_threadpool(self._passes.find, cookie, used=used)
        agent = request.headers.get("user-agent", "")
        return await run_in_threadpool(self._sessions.find, cookie, used=used, agent=agent)

    def _bounded(self, principal: Machine | Person | Visitor) -> None:
        program = isinstance(principal, Machine)
        wait = self._rates.take(principal.credential if isinstance(principal, Machine) else principal.session)
        if wait:
            _throttled.labels("program" if program else "person").inc()
            raise TooMany(wait)


def _permitted(rule: Rule, principal: Machine | Person | Visitor) -> None:
    if isinstance(principal, Machine):
        if rule.scope is None:
            raise Forbidden("people-only", "this is for people who sign in, not for programs")
        if rule.scope not in principal.scopes:
            raise Forbidden("scope", f"this token may not do that: it lacks the scope `{rule.scope}`")
    elif ("participant" if isinstance(principal, Visitor) else principal.role) not in rule.roles:
        raise Forbidden("role", "this is not open to people of your role")


def _same_origin(request: Request) -> None:
    """Refuse what a browser sends on behalf of another site.

    Every current browser names where a request comes from; programs that hold a session's cookie may say
    nothing and still need the session's token.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        good = site in {"same-origin", "none"}
    elif origin is not None:
        good = urlsplit(origin).netloc == request.headers.get("host")
    else:
        good = True
    if not good:
        raise Forbidden("other-site", "this came from another site")


async def _our_form(request: Request, csrf: str, rule: Rule) -> None:
    """Refuse what does not carry the session's own token, as the field `csrf` or as `X-CSRF-Token`.

    Raises `Forbidden`, and `TooLarge` for a form that is, or does not say how large it is.
    """
    given = request.headers.get("x-csrf-token")
    kinds = ("application/x-www-form-urlencoded", *(("multipart/form-data",) if rule.upload else ()))
    if request.headers.get("content-type", "").startswith(kinds):
        if not 0 <= int(request.headers.get("content-length", "-1")) <= FORM_BYTES_MAX:
            raise TooLarge(f"a form has at most {FORM_BYTES_MAX} bytes")
        form = await request.form(
            max_fields=rule.fields_max, max_files=int(rule.upload), max_part_size=FORM_BYTES_MAX
        )
        field = form.get("csrf")
        given = given or (field if isinstance(field, str) else None)
    if given is None or not hmac.compare_digest(given.encode(), csrf.encode()):
        await request.close()  # and with it a file that came
        raise Forbidden("form-token", "this form is out of date; go back, load the page again and repeat")


def machine(request: Request) -> Machine:
    """The program that asks. Raises `Refused` where it is a person."""
    principal = request.state.principal
    if not isinstance(principal, Machine):
        raise Refused("this is for programs with a token", code="programs-only")
    return principal


def person(request: Request) -> Person:
    """The person who asks. Raises `Refused` where it is a program."""
    principal = request.state.principal
    if not isinstance(principal, Person):
        raise Refused("this is for people who sign in", code="people-only")
    return principal


def visitor(request: Request) -> Visitor:
    """Who visits their own page. Raises `Refused` where it is anybody else."""
    principal = request.state.principal
    if not isinstance(principal, Visitor):
        raise Refused("this is for participants, with their card", code="participants-only")
    return principal


def key(request: Request) -> str:
    """What tells who asks from everybody else, for as long as they may: see `signed_in`. Not a secret."""
    principal = request.state.principal
    if isinstance(principal, Person):
        return "s:" + principal.session
    return "t:" + machine(request).credential


def signed_in(of: Parts, keys: frozenset[str]) -> frozenset[str]:
    """Which of these keys of sessions and tokens are still good."""
    people = of.sessions.standing(one[2:] for one in keys if one.startswith("s:"))
    programs = standing(of.store, (one[2:] for one in keys if one.startswith("t:")))
    return frozenset({f"s:{one}" for one in people} | {f"t:{one}" for one in programs})
