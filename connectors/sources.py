"""Where files come from, as `hub.toml` says: a folder or an SFTP account of one agency, and its mappings."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schemas.topics import STAKEHOLDER_ID

HOST_KEY: Final = r"^(ssh-ed25519|ecdsa-sha2-[a-z0-9-]+|rsa-sha2-[0-9]+|ssh-rsa) [A-Za-z0-9+/=]+( .*)?$"


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Account(_Given):
    """An SFTP account that the hub looks into.

    `host_key` is the server's public key, as in a known_hosts file without the host; no other server is
    spoken to. `key` is the file with the hub's own private key for it.
    """

    host: Annotated[str, Field(min_length=1, max_length=253)]
    username: Annotated[str, Field(min_length=1, max_length=64)]
    key: Path
    host_key: Annotated[str, StringConstraints(pattern=HOST_KEY, strip_whitespace=True)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 22
    folder: str = "."
    every_ms: Annotated[int, Field(ge=1_000, le=86_400_000)] = 60_000


class Source(_Given):
    """One agency's files. `mappings` says by a pattern of the name (`*.csv`) how each is read; the first that
    fits counts.

    A file counts as whole when its size and time have stayed the same for `settle_ms`.
    """

    agency: Annotated[str, StringConstraints(pattern=f"^{STAKEHOLDER_ID.pattern}$")]
    mappings: Annotated[dict[str, str], Field(min_length=1, max_length=50)]
    folder: Path | None = None
    sftp: Account | None = None
    settle_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 5_000

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.folder is None) == (self.sftp is None):
            raise PydanticCustomError("one-place", "files have either a `folder` or an `sftp` account")
        return self

    def absolute(self) -> Self:
        """The same with its paths from the root."""
        if self.sftp is not None:
            key = Path(os.path.abspath(self.sftp.key.expanduser()))
            return self.model_copy(update={"sftp": self.sftp.model_copy(update={"key": key})})
        assert self.folder is not None, "a source has one place"
        return self.model_copy(update={"folder": Path(os.path.abspath(self.folder.expanduser()))})

    @property
    def name(self) -> str:
        """The source, for people: the agency and the kind of place."""
        return f"{self.agency}-{'folder' if self.folder is not None else 'sftp'}"

    @property
    def key(self) -> str:
        """The place, as 16 hex digits: no two sources have the same."""
        place = (
            str(self.folder)
            if self.sftp is None
            else f"sftp://{self.sftp.username}@{self.sftp.host}:{self.sftp.port}/{self.sftp.folder}"
        )
        return hashlib.sha256(place.encode()).hexdigest()[:16]
