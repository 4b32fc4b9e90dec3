"""Mail: one interface, and SMTP behind it."""

from cookcam.integrations.mail.models import Mail, MailRejected, MailService
from cookcam.integrations.mail.smtp import Smtp, SmtpSettings

__all__ = ["Mail", "MailRejected", "MailService", "Smtp", "SmtpSettings"]
