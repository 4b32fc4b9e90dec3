"""The one file of an upload: a form field, or the body itself.

The app sends `multipart/form-data` without a boundary and without a picture
(`spec/client-contract.md` §5.1, A3). That is refused from the header, without waiting for a byte.
"""

from __future__ import annotations

from typing import Final

from werkzeug.sansio.multipart import (
    Data,
    Epilogue,
    Field,
    File,
    MultipartDecoder,
    NeedData,
)

from cookcam.errors import BadRequest
from cookcam.http.requests import Request

MULTIPART: Final = "multipart/form-data"
PARTS: Final = 20


async def uploaded_file(request: Request, name: str) -> bytes | None:
    """The bytes of the file in the form field `name`, or the body of a request that is no form.

    None where there is nothing. Raises BadRequest for a form that cannot be read, PayloadTooLarge
    from the edge.
    """
    if request.mimetype != MULTIPART:
        return bytes(await request.body) or None
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise _unreadable()
    return _file_in(bytes(await request.body), boundary.encode(), name)


def _file_in(body: bytes, boundary: bytes, name: str) -> bytes | None:
    decoder = MultipartDecoder(boundary, max_parts=PARTS)
    found: bytearray | None = None
    wanted = False
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, NeedData):
                raise _unreadable()
            if isinstance(event, File | Field):
                wanted = isinstance(event, File) and event.name == name and found is None
                if wanted:
                    found = bytearray()
            elif isinstance(event, Data) and wanted and found is not None:
                found += event.data
    except (ValueError, UnicodeError) as error:
        raise _unreadable() from error
    return bytes(found) if found else None


def _unreadable() -> BadRequest:
    words = "The upload could not be read. Send the photo as a form field named photo"
    return BadRequest(words, error=words)
