"""What is secret, and how it is taken out: one list for logs and for error reports."""

from cookcam.observability.redaction.names import Sensitivity, sensitivity
from cookcam.observability.redaction.text import REDACTED, redact_text
from cookcam.observability.redaction.values import LIMITS, Json, Limits, redact

__all__ = [
    "LIMITS",
    "REDACTED",
    "Json",
    "Limits",
    "Sensitivity",
    "redact",
    "redact_text",
    "sensitivity",
]
