"""The interface by which the serving layer reports events of its connections."""

from __future__ import annotations

from typing import Literal, Protocol

from attrs import frozen

CloseReason = Literal["http1", "http2", "websocket", "tls", "timeout"]
"""The reason when the peer ends a connection: the violated protocol, or a deadline."""


class ConnectionObserver(Protocol):
    """Receives events for metrics, logs and error reports. No method raises or waits."""

    def connection_opened(self) -> None: ...

    def connection_closed(self) -> None: ...

    def peer_failed(self, reason: CloseReason, detail: str) -> None:
        """A connection ends because its peer violated the protocol or was too slow."""
        ...

    def connection_failed(self, error: BaseException) -> None:
        """A connection ends because of an internal error."""
        ...

    def application_failed(self, error: BaseException) -> None:
        """The application raised instead of answering one request."""
        ...

    def address_limited(self, address: str) -> None:
        """A connection was closed at once because its address has reached its limit."""
        ...

    def accept_failed(self, error: OSError) -> None:
        """`accept` failed temporarily, for instance for lack of descriptors."""
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
