"""What can go wrong between a handler and its client."""

from __future__ import annotations

from typing import Any

from attrs import define


@define(eq=False, slots=False)
class ConnectionRejected(Exception):
    """Raised by a connect handler: the client gets `connect_error` with this message and data."""

    message: str = "Connection refused"
    data: Any = None


class Disconnected(Exception):
    """The client went away before it answered."""
