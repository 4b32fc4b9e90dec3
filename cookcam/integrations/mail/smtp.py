"""Sends mail by SMTP (RFC 5321), with the standard library's client in a thread.

TLS verifies the server's certificate and name. Nothing of a server's reply but its code is logged,
because replies repeat addresses.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from typing import Literal

import structlog
import trio
from attrs import field, frozen

from cookcam.config.secret import Secret
from cookcam.integrations.mail.models import Mail, MailRejected
from cookcam.integrations.provider_calls import ProviderMisconfigured, ProviderUnavailable
from cookcam.integrations.trust import trusted

STEP_TIMEOUT = 10.0
"""Seconds for each reply of the server."""
TIMEOUT = 30.0
"""Seconds for a whole mail."""
MAX_CONNECTIONS = 4

Security = Literal["starttls", "tls", "none"]


@frozen
class SmtpSettings:
    """`sender` is the address of our mails, `sender_name` the name beside it."""

    host: str
    port: int
    security: Security
    user: str | None
    password: Secret | None
    sender: str
    sender_name: str


@frozen
class Smtp:
    """`MailService` over SMTP; one connection for each mail."""

    settings: SmtpSettings
    tls: Callable[[], ssl.SSLContext] = trusted
    _connections: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(MAX_CONNECTIONS), init=False
    )

    async def send(self, mail: Mail) -> None:
        """`MailService` says what it raises."""
        with trio.move_on_after(TIMEOUT):
            await trio.to_thread.run_sync(
                self._send, mail, abandon_on_cancel=True, limiter=self._connections
            )
            return
        raise ProviderUnavailable

    def _send(self, mail: Mail) -> None:
        settings, message = self.settings, self._message(mail)
        try:
            with self._connect() as server:
                try:
                    if settings.security == "starttls":
                        server.starttls(context=self.tls())
                    if settings.user is not None and settings.password is not None:
                        server.login(settings.user, settings.password.reveal())
                except smtplib.SMTPNotSupportedError:
                    _log_misconfiguration("STARTTLS or AUTH is not supported", None)
                    raise ProviderMisconfigured from None
                server.send_message(message, settings.sender, [mail.to])
        except smtplib.SMTPAuthenticationError as rejection:
            _log_misconfiguration("credentials rejected", rejection.smtp_code)
            raise ProviderMisconfigured from None
        except smtplib.SMTPResponseException as rejection:
            raise _failure(rejection.smtp_code) from None
        except smtplib.SMTPNotSupportedError:  # an address that is not ASCII
            raise MailRejected(reason="SMTPUTF8") from None
        except ssl.SSLCertVerificationError:
            _log_misconfiguration("certificate rejected", None)
            raise ProviderMisconfigured from None
        except smtplib.SMTPException as error:
            # The error of a rejected recipient has the reply to each; there is one.
            replies: dict[str, tuple[int, bytes]] = getattr(error, "recipients", {})
            for code, _ in replies.values():
                raise _failure(code) from None
            raise ProviderUnavailable from None
        except OSError:
            raise ProviderUnavailable from None

    def _connect(self) -> smtplib.SMTP:
        settings = self.settings
        # The name in EHLO: the default would look up this machine's own name.
        domain = settings.sender.rpartition("@")[2]
        if settings.security == "tls":
            return smtplib.SMTP_SSL(
                settings.host, settings.port, domain, timeout=STEP_TIMEOUT, context=self.tls()
            )
        return smtplib.SMTP(settings.host, settings.port, domain, timeout=STEP_TIMEOUT)

    def _message(self, mail: Mail) -> EmailMessage:
        """Raises MailRejected for an address that is none."""
        domain = self.settings.sender.rpartition("@")[2]
        message = EmailMessage()
        try:
            message["From"] = formataddr((self.settings.sender_name, self.settings.sender))
            message["To"] = mail.to
            message["Subject"] = mail.subject
        except (ValueError, IndexError):  # line breaks, or no address
            raise MailRejected(reason="invalid") from None
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = f"<{mail.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        return message


def _failure(code: int) -> Exception:
    """RFC 5321, section 4.2.1: 5yz is permanent, 4yz transient."""
    return MailRejected(reason=str(code)) if 500 <= code < 600 else ProviderUnavailable()


def _log_misconfiguration(problem: str, code: int | None) -> None:
    structlog.get_logger(__name__).error("mail server rejected us", problem=problem, code=code)
