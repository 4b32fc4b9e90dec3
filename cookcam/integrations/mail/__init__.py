"""Mail: one interface, and SMTP or Resend behind it."""

from cookcam.integrations.mail.models import Mail, MailRejected, MailService
from cookcam.integrations.mail.resend import Resend
from cookcam.integrations.mail.smtp import Smtp, SmtpSettings

__all__ = ["Mail", "MailRejected", "MailService", "Resend", "Smtp", "SmtpSettings"]
