"""Where a recipient's files are dropped: a folder on its SFTP server, from its subscription's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncssh

from connectors import tabular
from schemas.errors import Refused

PORT: Final = 22


class Unfit(Refused):
    """The address, the host key or the format of a recipient's folder is none."""

    code = "settings-unfit"


@dataclass(frozen=True, slots=True)
class Drop:
    """Where a recipient's files go, from its subscription's settings."""

    host: str
    port: int
    user: str
    path: str
    host_key: str
    form: tabular.Format

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Drop":
        """`url` is `sftp://user@host:port/folder`, `host_key` a line of its public key. Raises `Unfit`."""
        try:
            parts = urlsplit(settings["url"])
            host, user, port = parts.hostname, parts.username, parts.port or PORT
            host_key, form = str(settings["host_key"]), settings["format"]
            asyncssh.import_public_key(host_key)
        except (KeyError, TypeError, ValueError, asyncssh.KeyImportError):
            raise Unfit(
                "an address of the kind `sftp://user@host/folder` and a host key are needed"
            ) from None
        if parts.scheme != "sftp" or not host or not user or parts.password or form not in ("csv", "jsonl"):
            raise Unfit("an address of the kind `sftp://user@host/folder` and a format are needed")
        return cls(host, port, unquote(user), unquote(parts.path).rstrip("/") or ".", host_key, form)
