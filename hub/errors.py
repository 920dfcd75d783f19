"""What the hub's commands tell a person who has to mend something: what is wrong, and how to mend it."""

from __future__ import annotations

from schemas.errors import HubError


class OperatorError(HubError):
    """Something that whoever runs the hub can mend.

    Attributes:
        what: What is wrong, lower case, without personal data.
        mend: What to do about it, as a sentence or a command; may be empty.
        exit_status: What a command ends with: 1 something is wrong, 2 it was called wrongly.
    """

    code = "operator"
    exit_status = 1

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}. {mend}" if mend else what)
        self.what = what
        self.mend = mend


class SettingsInvalid(OperatorError):
    """A setting is unknown, malformed, or contradicts another one."""

    exit_status = 2


class JavaMissing(OperatorError):
    """The embedded broker needs a Java runtime and there is none, or one that is too old."""


class JarsMissing(OperatorError):
    """The embedded broker's jars have not been fetched."""


class DataInUse(OperatorError):
    """Another process works on this data folder."""


class BrokerFailed(OperatorError):
    """The embedded broker did not come up, did not stop, or went away."""


class BrokerUnreachable(OperatorError):
    """No broker answers at the address that the settings name."""
