"""A mail server that delivers nothing: it keeps what it gets and shows it on a page.

    async with open_mail() as mail:
        ...                              # a server that has `mail.bindings`
        assert mail.received[-1].subject == "New sign-in to your CookCam account"

It speaks SMTP (RFC 5321, with STARTTLS of RFC 3207 and AUTH PLAIN of RFC 4954), and the part of
Resend's API that sends a mail.
"""

from cookcam.sandbox.mail.server import Behaviour, FakeMail, ReceivedMail, open_mail

__all__ = ["Behaviour", "FakeMail", "ReceivedMail", "open_mail"]
