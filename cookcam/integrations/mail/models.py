"""A mail, and what a mail service has to do."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field, frozen

from cookcam.errors import AppError


@frozen
class Mail:
    """A mail to one address, as text and as HTML.

    `id` becomes the Message-ID: a mailbox that gets a mail twice can recognise it.
    """

    id: str
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


@define(slots=False, eq=False)
class MailRejected(AppError):
    """The mail was rejected for good. `reason` is a code, without the address or a text."""

    status, code, default_message = 502, "SERVICE_ERROR", "The mail was rejected"

    reason: str = field(default="rejected", kw_only=True)


class MailService(Protocol):
    """Raises MailRejected, ProviderUnavailable when it may succeed later, and ProviderMisconfigured
    when our settings or credentials are wrong. After ProviderUnavailable the mail may have been
    sent."""

    async def send(self, mail: Mail) -> None: ...
