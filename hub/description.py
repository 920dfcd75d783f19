"""The OpenAPI description of what programs call: what each route takes, and every answer that it can give.

Routes say themselves what they take and answer (`connectors/described.py`); what the gate and the bounds
around all of them may answer besides follows from the table of `hub/access.py`.
"""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from connectors.described import PROBLEM, problems
from hub.access import RULES, SAFE_METHODS, Rule
from schemas import directives as shapes

_SCHEMAS: Final = "#/components/schemas/"


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, directives included; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version=app.openapi_version,
            summary=app.summary,
            routes=app.routes,
        )
        said = TypeAdapter(shapes.Directive).json_schema(ref_template=_SCHEMAS + "{model}")
        components = made.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas |= said.pop("$defs") | {"Directive": said, "Problem": PROBLEM}
        del schemas["HTTPValidationError"], schemas["ValidationError"]
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
        rules = {(method, path.replace(":path}", "}")): rule for (method, path), rule in RULES.items()}
        for path, operations in made["paths"].items():
            for method, operation in operations.items():
                _around(rules[method.upper(), path], operation)
        app.openapi_schema = made
    return app.openapi_schema


def _around(rule: Rule, operation: dict[str, Any]) -> None:
    """Adds what comes from before the route: who asks, how often, from where, and how much at once."""
    found: set[int] = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.MISDIRECTED_REQUEST}
    if rule.anyone:
        operation["security"] = []
    else:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if rule.method not in SAFE_METHODS:
        found.add(HTTPStatus.FORBIDDEN)
    found.add(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    answers = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422")):
        del answers["422"]  # what every text fits; routes name theirs themselves
    for status, answer in problems(*sorted(found)).items():
        answers.setdefault(str(status), answer)["content"] |= answer["content"]
