"""A ZIP archive that is made while it is sent: what was written comes out at once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

WORTH_SENDING: Final = 16 * 1024


@frozen
class Entry:
    """A file of the archive; `parts` are its content, UTF-8."""

    name: str
    parts: AsyncIterable[str]


class _Outlet(io.RawIOBase):
    """Where the archive is written to: keeps what has not been sent. Cannot be rewound."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        part = bytes(memoryview(data))  # pyright: ignore[reportArgumentType]  # any buffer
        self._waiting += part
        return len(part)

    def take(self, least: int = 1) -> bytes:
        if len(self._waiting) < least:
            return b""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


async def zipped(entries: AsyncIterable[Entry], made_at: datetime) -> AsyncGenerator[bytes]:
    """The bytes of an archive of these files, in order; never more than some parts in memory."""
    outlet = _Outlet()
    moment = made_at.astimezone(UTC).timetuple()[:6]
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_DEFLATED) as archive:
        async for entry in entries:
            about = zipfile.ZipInfo(entry.name, moment)
            about.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(about, "w") as file:
                async for part in entry.parts:
                    file.write(part.encode())
                    if ready := outlet.take(WORTH_SENDING):
                        yield ready
            yield outlet.take()
    yield outlet.take()
