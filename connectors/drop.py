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
    age: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Drop":
        """`url` is `sftp://user@host:port/folder`, `host_key` a line of its public key, `age` public keys.

        Raises `Unfit`. Whether these keys are keys shows when a file is encrypted (`connectors/age.py`).
        """
        try:
            parts = urlsplit(settings["url"])
            host, user, port = parts.hostname, parts.username, parts.port or PORT
            host_key, form = str(settings["host_key"]), settings["format"]
            age = settings.get("age") or ()
            asyncssh.import_public_key(host_key)
        except (KeyError, TypeError, ValueError, asyncssh.KeyImportError):
            raise Unfit(
                "an address of the kind `sftp://user@host/folder` and a host key are needed"
            ) from None
        if parts.scheme != "sftp" or not host or not user or parts.password or form not in ("csv", "jsonl"):
            raise Unfit("an address of the kind `sftp://user@host/folder` and a format are needed")
        if isinstance(age, str) or not all(isinstance(key, str) for key in age):
            raise Unfit("`age` is a list of public keys")
        path = unquote(parts.path).rstrip("/") or "."
        return cls(host, port, unquote(user), path, host_key, form, tuple(age))
