"""Mail by the program's own server (RFC 6409): that an alert waits and no more; or what is public anyway."""

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final, Literal

from hub.language import tongue
from hub.nudge import Kind, Sent

ANSWER_S_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Where mail is handed in. `tls`: `starttls`, `tls` from the first byte, or `none` on this machine."""

    host: str
    port: int
    sender: str
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)


class Mail:
    """Hands in messages, each over a connection of its own: there are few."""

    def __init__(self, settings: MailSettings, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._tls = tls or ssl.create_default_context()

    def send(self, to: str, kind: Kind, language: str) -> Sent:
        """Send one notice, in the reader's language. Blocks; never raises."""
        return self.hand_in(self._message(to, kind, language))

    def hand_in(self, message: EmailMessage) -> Sent:
        """Send a message. Blocks; never raises. No address gets into a code."""
        try:
            with self._connected() as server:
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            status = next(iter(error.recipients.values()))[0]
            return Sent(False, f"smtp-{status}", again=status < 500)
        except smtplib.SMTPResponseException as error:
            return Sent(False, f"smtp-{error.smtp_code}", again=error.smtp_code < 500)
        except ssl.SSLError:
            return Sent(False, "tls", again=True)
        except smtplib.SMTPNotSupportedError:
            return Sent(False, "not-offered", again=True)
        except (OSError, smtplib.SMTPException) as error:
            return Sent(False, "timeout" if isinstance(error, TimeoutError) else "connection", again=True)
        return Sent(True, "accepted")

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.host, settings.port, timeout=ANSWER_S_MAX, context=self._tls
            )
        else:
            server = smtplib.SMTP(settings.host, settings.port, timeout=ANSWER_S_MAX)
        try:
            if settings.tls == "starttls":
                server.starttls(context=self._tls)
            if settings.username is not None and settings.password is not None:
                server.login(settings.username, settings.password)
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, to: str, kind: Kind, language: str) -> EmailMessage:
        words = tongue(language, "UTC")
        return self.message(
            to, words.filled("notice", f"{kind}.title", {}), words.filled("notice", kind, {}) + "\n"
        )

    def message(self, to: str, subject: str, text: str, once: str | None = None) -> EmailMessage:
        """A message of text. In: `once`, where one that is sent again is to be known as the same."""
        domain = self._settings.sender.rpartition("@")[2]
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=domain) if once is None else f"<{once}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
        message.set_content(text)
        return message
