"""What the serving layer reports of its connections."""

from __future__ import annotations

from typing import Literal, Protocol

from attrs import frozen

CloseReason = Literal["http1", "http2", "websocket", "tls", "timeout"]
"""Why the peer's behaviour ended a connection: its protocol error, or a deadline of a request."""


class ConnectionObserver(Protocol):
    """Receives what metrics, logs and error reports need to know. No method raises or waits."""

    def connection_opened(self) -> None: ...

    def connection_closed(self) -> None: ...

    def peer_failed(self, reason: CloseReason, detail: str) -> None:
        """A connection ends because its peer broke the protocol or was too slow."""
        ...

    def connection_failed(self, error: BaseException) -> None:
        """A connection ends because of an error of ours."""
        ...

    def application_failed(self, error: BaseException) -> None:
        """The application raised instead of answering one request."""
        ...

    def address_limited(self, address: str) -> None:
        """A connection was closed at once: its address has as many as it may have."""
        ...

    def accept_failed(self, error: OSError) -> None:
        """`accept` failed in a way that passes, such as for want of descriptors."""
        ...


@frozen
class NoObserver:
    def connection_opened(self) -> None: ...

    def connection_closed(self) -> None: ...

    def peer_failed(self, reason: CloseReason, detail: str) -> None: ...

    def connection_failed(self, error: BaseException) -> None: ...

    def application_failed(self, error: BaseException) -> None: ...

    def address_limited(self, address: str) -> None: ...

    def accept_failed(self, error: OSError) -> None: ...
