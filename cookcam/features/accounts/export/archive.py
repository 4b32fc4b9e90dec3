"""A ZIP archive that is generated while it is sent."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncGenerator, AsyncIterable
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

FLUSH_BYTES: Final = 16 * 1024


@frozen
class Entry:
    """A file of the archive; `parts` are its content, UTF-8."""

    name: str
    parts: AsyncIterable[str]


class _ArchiveBuffer(io.RawIOBase):
    """Write-only buffer of the bytes that have not been sent; not seekable."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        part = bytes(memoryview(data))  # pyright: ignore[reportArgumentType]  # any buffer
        self._waiting += part
        return len(part)

    def take(self, minimum: int = 1) -> bytes:
        if len(self._waiting) < minimum:
            return b""
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


async def zipped(entries: AsyncIterable[Entry], made_at: datetime) -> AsyncGenerator[bytes]:
    """The bytes of an archive of the entries, in order; memory stays within a few parts."""
    buffer = _ArchiveBuffer()
    moment = made_at.astimezone(UTC).timetuple()[:6]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        async for entry in entries:
            about = zipfile.ZipInfo(entry.name, moment)
            about.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(about, "w") as file:
                async for part in entry.parts:
                    file.write(part.encode())
                    if ready := buffer.take(FLUSH_BYTES):
                        yield ready
            yield buffer.take()
    yield buffer.take()
