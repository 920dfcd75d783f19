"""`python -m tests.described`: everything that the OpenAPI document describes, called in every way.

Schemathesis calls a served hub with what the document allows and with what it does not, without credentials
and with each kind of them. No answer is a 5xx, and none is of a status, a media type or a shape that the
document does not name. `make schemathesis` takes minutes; `tests/test_described.py` a few calls of each,
always the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hub import tokens
from tests import webside
from tests.webside import HARBOR, REACH, Side

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
)
ENDLESS = "/v1/alerts/stream"  # an answer that does not end; tests/test_live.py has it
CALLERS = ("nobody", "case-management", "agency", "auditor")
DOCUMENT = "/openapi.json"
EXAMPLES = 300
REQUEST_S_MAX = 60  # some answers wait for up to 30 s, because they are asked to
RUN_S_MAX = 3_600


def tokens_of(side: Side) -> dict[str, str]:
    """A token of each kind of caller; "" for nobody's."""
    audit = tokens.mint(side.hub.store, HARBOR, [tokens.AUDIT])
    return dict(zip(CALLERS, ("", side.tokens[REACH], side.tokens[HARBOR], audit), strict=True))


def call(document: str, token: str, *more: str) -> tuple[int, str]:
    """One run of schemathesis. In: where the document is. Out: its exit status, and all that it said."""
    with tempfile.TemporaryDirectory() as folder:
        given = ["--header", f"Authorization: Bearer {token}"] if token else []
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", document),
            *("--checks", ",".join(CHECKS), "--exclude-path", ENDLESS, *given),
            *("--request-timeout", str(REQUEST_S_MAX), "--no-color"),
            *("--suppress-health-check", "all", "--warnings", "off", *more),
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": folder, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
    return done.returncode, done.stdout + done.stderr


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Out: 0 where nothing was found, 1 where something was."""
    parser = argparse.ArgumentParser(prog="tests.described", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="calls of each operation, at most")
    parser.add_argument("callers", nargs="*", help=f"of {', '.join(CALLERS)}; all where none is named")
    asked = parser.parse_args(arguments)
    if wrong := [one for one in asked.callers if one not in CALLERS]:
        parser.error(f"nobody of that kind calls: {', '.join(wrong)}")
    found = 0
    with tempfile.TemporaryDirectory(prefix="hub-described-") as folder, webside.alone(Path(folder)) as side:
        for caller, token in tokens_of(side).items():
            if asked.callers and caller not in asked.callers:
                continue
            many = ("--max-examples", str(asked.examples), "--continue-on-failure")
            status, said = call(f"{side.address}{DOCUMENT}", token, *many)
            print(f"==== {caller}\n{said}", flush=True)
            found |= status != 0
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
