"""Mails from templates in text and HTML.

A mail is `templates/<name>.txt`, whose first line is the subject, and `templates/<name>.html`, in
which every value is escaped. A missing value is an error.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cookcam.integrations.mail import Mail

TEMPLATES: Final = ("payment_failed", "new_sign_in", "account_deleted")


def render(template: str, mail_id: str, to: str, **values: Any) -> Mail:
    """Render a template of TEMPLATES as a mail to the address `to`."""
    text = _environment().get_template(f"{template}.txt").render(values)
    subject, _, body = text.partition("\n")
    html = _environment().get_template(f"{template}.html").render(values, subject=subject)
    return Mail(mail_id, to, subject, body.lstrip("\n"), html)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cookcam.features.messaging.mail"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
