"""The web application: every route, each behind the gate.

What is served is in `hub/routes`, who may call it in `hub/access.py`, what it is made of in `hub/parts.py`;
`hub/serving.py` runs it.
"""

from collections import Counter
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.telemetry import TelemetryConfig

from connectors import gateway
from connectors.intake import Intake
from hub.access import Gate, machine, signed_in
from hub.addresses import Addresses
from hub.answers import answer_errors
from hub.description import describe
from hub.headers import Headed
from hub.live import Streams
from hub.parts import Parts, parts
from hub.rates import Rates
from hub.routes import (
    acts,
    agreeing,
    cases,
    consents,
    directives,
    fhir,
    forms,
    health,
    helpers,
    home,
    installed,
    letters,
    letters_desk,
    log,
    me,
    officer,
    officer_accounting,
    officer_consents,
    officer_orders,
    officer_people,
    officer_unusual,
    officer_waiting,
    officer_why,
    operator,
    outbox,
    participants,
    people,
    public,
    receipts,
    requests,
    schemas,
    signon,
    submissions,
    wishes,
)
from hub.settings import Settings, is_loopback
from hub.visits import Counted, Visits

TITLE: Final = "Diversion hub"
HOUR_S: Final = 3_600
# The framework would hand what a request said wrong, and whole stack traces, to whatever collector the
# environment names. What the hub tells about itself has one way out: `GET /metrics`.
UNTOLD: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def create_app(of: Parts) -> FastAPI:
    """The application. Raises `ValueError` where demo accounts would be reached from elsewhere."""
    refuse_open_demo(of.settings)
    rates = Rates(of.settings.requests_per_s_max, of.settings.requests_burst_max)
    proxies = of.settings.web_proxies
    everybody = Addresses(of.settings.public_per_s_max, of.settings.public_burst_max, proxies, of.clock_ms)
    gate = Gate(of.store, of.sessions, of.passes, rates, everybody, secure=of.settings.secure)
    app = FastAPI(
        title=TITLE,
        version="0.1.0",
        summary="Agencies share what a participant agreed to; nothing else.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry=UNTOLD,
        dependencies=[Depends(gate)],
    )
    app.openapi_version = "3.0.3"  # what the vendored page for reading it knows
    app.state.parts = of
    app.state.streams = Streams(lambda keys: run_in_threadpool(signed_in, of, keys))
    app.state.asking = Counter()
    hourly = of.settings.letters_per_hour_max
    app.state.writers = Addresses(hourly / HOUR_S, hourly, proxies, of.clock_ms)
    app.router.routes.extend(gateway.router(_intake, _sender, gate).routes)  # first: what is asked most
    for module in (
        home,
        signon,
        installed,
        cases,
        acts,
        people,
        agreeing,
        me,
        wishes,
        officer,
        requests,
        officer_accounting,
        officer_consents,
        officer_orders,
        officer_people,
        officer_unusual,
        officer_waiting,
        officer_why,
        operator,
        outbox,
        participants,
        consents,
        directives,
        fhir,
        submissions,
        public,
        letters,
        letters_desk,
        receipts,
        forms,
        schemas,
        log,
        me,
        helpers,
        health,
    ):
        app.include_router(module.routes)
    app.add_api_route("/openapi.json", lambda: describe(app), include_in_schema=False)
    answer_errors(app)
    app.state.visits = Visits(of.appender, of.clock_ms)
    app.add_middleware(Counted, visits=app.state.visits)
    app.add_middleware(Headed, loopback_only=of.settings.demo, secure=of.settings.secure)
    return app


def _intake(request: Request) -> Intake:
    return parts(request).intake


def _sender(request: Request) -> str:
    return machine(request).stakeholder


def refuse_open_demo(settings: Settings) -> None:
    """Demo accounts have no password: raises `ValueError` where the web would listen beyond this machine."""
    if settings.demo and not is_loopback(settings.web_host):
        raise ValueError("demo accounts are for this machine alone: listen on 127.0.0.1")
