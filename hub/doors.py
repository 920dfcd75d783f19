"""What the settings say about the web's doors: where it listens, how people sign in, how much is let in."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from schemas import topics

Port = Annotated[int, Field(ge=0, le=65_535)]
GROUPS_MAX: Final = 500
SECRET_BYTES_MAX: Final = 4_096


class Group(BaseModel):
    """People of this group of the sign-in service are of this role, and of this organisation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: Annotated[str, Field(min_length=1, max_length=300)]
    role: Literal["case-manager", "privacy-officer", "operator"]
    stakeholder: Annotated[str, Field(pattern=rf"^{topics.STAKEHOLDER_ID.pattern}$")] | None = None

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.role == "case-manager" and self.stakeholder is None:
            raise ValueError("a case manager works for an organisation: name the `stakeholder`")
        return self


class Doors(BaseSettings):
    """The part of `hub.settings.Settings` that is about the web."""

    web_host: str = "127.0.0.1"
    web_port: Port = 8080
    """0 for any free one."""
    web_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+$")] | None = None
    """How people's browsers reach the web, without a path: `https://hub.county.example`; None for what it
    listens on. With https, cookies leave by TLS alone, also where a proxy in front does the TLS."""

    web_certificate: Path | None = None
    """PEM file with the web's own certificate, its chain and its private key; None for no TLS."""
    web_client_ca: Path | None = None
    """PEM file with the authorities that sign certificates of stakeholders' programs, which may then show one
    instead of a token; needs `web_certificate`."""
    requests_per_s_max: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Of one token, certificate or session, in the long run, of each process of the web."""
    requests_burst_max: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    """The same, at once."""
    web_proxies: Annotated[tuple[IPvAnyAddress, ...], Field(max_length=20)] = ()
    """Addresses of the proxies in front of the web. What one of these says in `X-Forwarded-For` is taken for
    the address of who asks; what anybody else says there is not."""
    public_per_s_max: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Of one address on the public pages, in the long run, of each process of the web."""
    public_burst_max: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """The same, at once."""
    letters_per_hour_max: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    """Letters of the community from one address, in the long run and at once, of each process of the web."""
    letters_per_day_max: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Letters of the community that are taken in a day, from whatever addresses."""

    oidc_issuer: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")] | None = None
    """The OpenID Connect provider at which people sign in, exactly as it calls itself; None for nobody."""
    oidc_name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """What people call it; stands on the sign-in page."""
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_client_secret_file: Path | None = None
    """A file with the secret, where it is not in the environment or in `/run/secrets`."""
    oidc_ca: Path | None = None
    """PEM file with the authorities that signed the provider's certificate; None for the usual ones."""
    oidc_subject_claim: Literal["sub", "oid"] = "sub"
    """Which claim says who somebody is, for ever: `oid` with Microsoft Entra, whose `sub` nobody
    can look up."""
    oidc_groups_claim: Annotated[str, Field(pattern=r"^[^\s]{1,200}$")] = "groups"
    """Which claim lists somebody's groups; a dot goes into a claim, as in Keycloak's `realm_access.roles`."""
    oidc_groups: Annotated[tuple[Group, ...], Field(max_length=GROUPS_MAX)] = ()
    """Which group is which role; `[[oidc_groups]]` in `hub.toml`, a table each. Who is in none, or in two of
    different roles, is let in only by name: `hub person add`."""

    @field_validator("oidc_client_secret_file", "oidc_ca", "web_certificate", "web_client_ca", mode="after")
    @classmethod
    def _absolute_doors(cls, path: Path | None) -> Path | None:
        return None if path is None else Path(os.path.abspath(path.expanduser()))

    @model_validator(mode="after")
    def _doors_fit(self) -> Self:
        for name, url in (("web_url", self.web_url), ("oidc_issuer", self.oidc_issuer)):
            if url is not None and url.startswith("http:") and not is_loopback(urlsplit(url).hostname or ""):
                raise ValueError(f"`{name}` begins with https:// unless it is on this machine")
        if self.web_client_ca is not None and self.web_certificate is None:
            raise ValueError("to ask for certificates the web needs one itself: set `web_certificate`")
        if self.web_url is not None and self.web_certificate is not None and not self.secure:
            raise ValueError("with `web_certificate` people reach the web by https: correct `web_url`")
        if (self.oidc_issuer is None) != (self.oidc_client_id is None):
            raise ValueError("signing in needs both `oidc_issuer` and `oidc_client_id`")
        if self.oidc_client_secret is not None and self.oidc_client_secret_file is not None:
            raise ValueError("set `oidc_client_secret` or `oidc_client_secret_file`, not both")
        if self.oidc_issuer is not None and self.web_url is None and not is_loopback(self.web_host):
            raise ValueError(
                "signing in needs `web_url`, the address to which the provider sends people back"
            )
        return self

    @property
    def secure(self) -> bool:
        """Whether people's browsers reach the web by TLS."""
        if self.web_url is None:
            return self.web_certificate is not None
        return self.web_url.startswith("https:")

    def client_secret(self) -> str | None:
        """The secret by which the provider knows the hub; None for a public client.

        Raises `OSError` or `ValueError` where the file cannot be read as one line of text.
        """
        if self.oidc_client_secret is not None:
            return self.oidc_client_secret.get_secret_value()
        if self.oidc_client_secret_file is None:
            return None
        with self.oidc_client_secret_file.open("rb") as file:
            found = file.read(SECRET_BYTES_MAX + 1).decode().strip()
        if not found or len(found) > SECRET_BYTES_MAX or not found.isprintable():
            raise ValueError("not a secret of one line")
        return found


def is_loopback(host: str) -> bool:
    """Whether `host` is reached from this machine alone. Names other than `localhost` count as not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
