"""Records refused callers as security events, in the background.

| error | event | severity |
|---|---|---|
| wrong password | `auth_failure` | medium |
| another 401 | `auth_failure` | low |
| 403 for missing rights | `unauthorized_access` | high |
| 403 of the blocklist | `suspicious_activity` | high |
| 429 | `rate_limit` | low |
| failed sign-ins to many accounts from an address | `suspicious_activity` | critical |
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
import trio
from attrs import define, field

from cookcam.config.secret import Secret
from cookcam.errors import (
    AccessDenied,
    AppError,
    AuthenticationError,
    AuthorizationError,
    InsufficientPermissions,
    InvalidCredentials,
    RateLimited,
    ServiceUnavailable,
)
from cookcam.features.operations.row_buffer import RowBuffer
from cookcam.features.operations.security.failed_sign_ins import FailedSignIns
from cookcam.features.operations.security.models import EventType, SecurityEvent, Severity
from cookcam.http.client_address import parse_address, quota_key
from cookcam.http.request_info import RequestInfo
from cookcam.sliding_windows import Bucket

SPRAYED_ACCOUNTS: Final = 10
"""So many accounts with failed sign-ins from one address are an attack."""
EVENTS_PER_MINUTE: Final = 30
"""Of one type and address. Further ones are only counted in the metrics, so that a flood of refused
requests does not become a flood of rows."""
MAX_TEXT: Final = 200
"""Characters of a user agent and of a path."""


@define(eq=False)
class SecurityRecorder:
    """`secret` is the key of the hashes of accounts. `count_dropped` counts events without room."""

    buffer: RowBuffer
    secret: Secret = field(repr=False)
    now: Callable[[], datetime] = field(repr=False)
    count_dropped: Callable[[], None] = field(repr=False)
    failed_sign_ins: FailedSignIns = field(factory=FailedSignIns)
    _bucket: Bucket = field(factory=lambda: Bucket(EVENTS_PER_MINUTE, 60.0), init=False)

    def record(self, error: AppError, info: RequestInfo, user_agent: str | None) -> None:
        """Record an error that refuses a caller; ignores other errors. Never waits or raises."""
        classified = _classify(error)
        if classified is None:
            return
        kind, severity = classified
        details: dict[str, str | int] = {"reason": error.code}
        if info.limited_by is not None:
            details["bucket"] = info.limited_by
        if info.attempted_account is not None and isinstance(error, InvalidCredentials):
            account = details["account"] = self._hash(info.attempted_account)
            address = quota_key(info.client_address)
            if self.failed_sign_ins.add(address, account) == SPRAYED_ACCOUNTS:
                spraying = {"reason": "PASSWORD_SPRAYING", "accounts": SPRAYED_ACCOUNTS}
                self._add("suspicious_activity", "critical", spraying, info, user_agent)
        key = f"{kind} {info.client_address}"
        if self._bucket.hit(key, trio.current_time()).allowed:
            self._add(kind, severity, details, info, user_agent)
        else:
            self.count_dropped()

    def _add(
        self,
        kind: EventType,
        severity: Severity,
        details: dict[str, str | int],
        info: RequestInfo,
        user_agent: str | None,
    ) -> None:
        event = SecurityEvent(
            kind,
            severity,
            info.client_address if parse_address(info.client_address) else None,
            info.user_id,
            details,
            info.request_id,
            info.route[:MAX_TEXT],
            info.method,
            None if user_agent is None else user_agent.replace("\0", "")[:MAX_TEXT],
            self.now(),
        )
        try:
            self.buffer.add([msgspec.json.encode(event)])
        except ServiceUnavailable:  # the buffer is full or closed
            self.count_dropped()

    def _hash(self, account: str) -> str:
        key = self.secret.reveal().encode()
        text = f"cookcam sign-in account {account}".encode()
        return hmac.new(key, text, hashlib.sha256).hexdigest()[:32]


def _classify(error: AppError) -> tuple[EventType, Severity] | None:
    if isinstance(error, AccessDenied):
        return "suspicious_activity", "high"
    if isinstance(error, InvalidCredentials):
        return "auth_failure", "medium"
    if isinstance(error, AuthenticationError):
        return "auth_failure", "low"
    if type(error) in (AuthorizationError, InsufficientPermissions):
        return "unauthorized_access", "high"
    if isinstance(error, RateLimited) and error.status == 429:
        return "rate_limit", "low"
    return None
