"""The county's sign-in service, for tests: a certified provider on Node; and a browser without scripts."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urljoin

import httpx
import pytest

from tests.conftest import CHECKOUT

SECRET = "a-secret-of-the-county: 50%+41"  # with what has to be encoded in HTTP's basic authentication
MODULES = CHECKOUT / "build" / "peers" / "provider" / "node_modules"
GROUPS = (
    {"group": "hub-case-managers", "role": "case-manager", "stakeholder": "reach"},
    {"group": "hub-officers", "role": "privacy-officer"},
    {"group": "hub-operators", "role": "operator"},
)


@dataclass
class County:
    """A provider that runs. `issuer` is its address."""

    issuer: str
    process: "subprocess.Popen[str]"

    def tell(self, line: str) -> None:
        """A command of `tests/peers/provider/provider.js`; returns once it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "done"


@contextmanager
def county() -> Iterator[County]:
    """The provider, until the block ends. Skipped out loud where there is no Node."""
    from shutil import which  # noqa: PLC0415

    node = which("node")
    if node is None or not MODULES.is_dir():
        pytest.skip("the OpenID Connect provider needs `node` and `npm`, and `setup/setup.sh test`")
    program = CHECKOUT / "tests" / "peers" / "provider" / "provider.js"
    process = subprocess.Popen(
        [node, str(program), str(MODULES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"NODE_NO_WARNINGS": "1"},
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.strip().isdigit(), f"the provider did not start: {said}"
        yield County(f"http://127.0.0.1:{said.strip()}", process)
    finally:
        process.communicate(timeout=30)


class Walker(httpx.Client):
    """A browser without scripts; keeps the cookies of hub and provider apart, whose host is the same."""

    def __init__(self, **more: Any) -> None:
        super().__init__(timeout=30, **more)
        self.jars: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        return self  # it may have been used before, which httpx does not allow

    def __exit__(self, *_: object) -> None:
        self.close()

    def go(self, method: str, url: str, **more: Any) -> httpx.Response:
        """One request, with the cookies of its port."""
        jar = self.jars.setdefault(httpx.URL(url).netloc.decode(), {})
        self.cookies.clear()
        cookie = "; ".join(f"{name}={value}" for name, value in jar.items())
        headers = {**more.pop("headers", {}), **({"cookie": cookie} if cookie else {})}
        answer = self.request(method, url, headers=headers, **more)
        for one in answer.headers.get_list("set-cookie"):
            name, _, value = one.partition(";")[0].partition("=")
            if value and "1970" not in one and "max-age=0" not in one.lower():
                jar[name] = value
            else:
                jar.pop(name, None)
        return answer

    def follow(self, answer: httpx.Response, stop: str = "\0") -> httpx.Response:
        """Where redirects lead; not on to an address that begins with `stop`."""
        for _ in range(20):
            target = urljoin(str(answer.url), answer.headers.get("location", ""))
            if not answer.has_redirect_location or target.startswith(stop):
                return answer
            answer = self.go("GET", target)
        raise AssertionError("redirected without end")

    def sign_in(self, hub: str, who: str) -> httpx.Response:
        """Go through the provider's pages as somebody; out: its redirect back to the hub."""
        back = f"{hub}/signin/callback"
        answer = self.follow(self.go("GET", f"{hub}/signin/start"), back)
        for form in ({"prompt": "login", "login": who, "password": "any"}, {"prompt": "consent"}):
            if answer.has_redirect_location:
                break
            assert answer.status_code == 200, answer.text
            action = re.search(r'action="([^"]+)"', answer.text)
            assert action is not None
            target = urljoin(str(answer.url), action[1])
            answer = self.follow(self.go("POST", target, data=form), back)
        assert answer.headers["location"].startswith(back), answer.text
        return answer
