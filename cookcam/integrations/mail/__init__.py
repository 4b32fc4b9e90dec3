"""Mail: one interface, and SMTP behind it."""

from cookcam.integrations.mail.smtp import Mail, MailRejected, MailService, Smtp, SmtpSettings

__all__ = ["Mail", "MailRejected", "MailService", "Smtp", "SmtpSettings"]
