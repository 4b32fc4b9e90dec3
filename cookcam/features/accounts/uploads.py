"""The file of an upload: a form field or the request body.

The shipped app sends `multipart/form-data` without a boundary and without a file. Such a request
is rejected by its header, before the body is read.
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
MAX_PARTS: Final = 20


async def uploaded_file(request: Request, name: str) -> bytes | None:
    """The file in the form field `name`, or the body when the request is not a form.

    None when it is empty. Raises BadRequest for a malformed form, PayloadTooLarge over the route's
    body limit.
    """
    if request.mimetype != MULTIPART:
        return bytes(await request.body) or None
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise _unreadable()
    return _file_in(bytes(await request.body), boundary.encode(), name)


def _file_in(body: bytes, boundary: bytes, name: str) -> bytes | None:
    decoder = MultipartDecoder(boundary, max_parts=MAX_PARTS)
    content: bytearray | None = None
    is_requested_file = False
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, NeedData):
                raise _unreadable()
            if isinstance(event, File | Field):
                is_requested_file = (
                    isinstance(event, File) and event.name == name and content is None
                )
                if is_requested_file:
                    content = bytearray()
            elif isinstance(event, Data) and is_requested_file and content is not None:
                content += event.data
    except (ValueError, UnicodeError) as error:
        raise _unreadable() from error
    return bytes(content) if content else None


def _unreadable() -> BadRequest:
    message = "The upload could not be read. Send the photo as a form field named photo"
    return BadRequest(message, error=message)
