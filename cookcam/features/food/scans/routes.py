"""Routes of ingredient scans."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from quart import request

from cookcam.features.food.scans.models import Picture
from cookcam.features.food.scans.requests import (
    NO_DATA,
    NO_FILE,
    AnalyzeRequest,
    ScanCorrectionRequest,
    no_image,
)
from cookcam.features.food.scans.responses import (
    AnalyzeResponse,
    ScanCorrectionResponse,
    ScanDetailResponse,
    ScanHistoryResponse,
    ScanResponse,
    ScanRow,
)
from cookcam.features.food.scans.service import (
    Scans,
    correction_failed,
    invalid_image,
    scan_not_found,
)
from cookcam.http import (
    MEBIBYTE,
    Routes,
    deadline,
    document_failures,
    document_upload,
    errors_as,
    max_body,
    parse_uuid,
    query_integers,
    validate_request,
    validate_response,
)
from cookcam.http.bodies import read_body
from cookcam.http.quotas import count_costly
from cookcam.http.request_info import current_request_info
from cookcam.http.requests import Request
from cookcam.http.route_options import set_route_options
from cookcam.http.validation import to_model
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in
from cookcam.images import IMAGE_TYPES, ImageError, ImageTooLarge, InvalidImage, WrongImageType

SECONDS = 55
"""Deadline of a scan; the app's own timeout is 60 s."""

UNTYPED = frozenset(("", "application/octet-stream", "binary/octet-stream"))
"""Default content types of HTTP clients, which do not identify the file."""

SEND_AN_IMAGE = "Send the bytes of a JPEG, PNG, WebP, HEIC or AVIF as the body, or JSON"
TOO_LARGE = "Image size too large (max 10MB)"


def routes(scans: Scans) -> Routes:
    bp = Routes("scans", __name__, legacy=True)
    _scan_routes(bp, scans)
    _read_routes(bp, scans)
    return bp


def _scan_routes(bp: Routes, scans: Scans) -> None:
    @bp.post("/scan/ingredients")
    @max_body(10 * MEBIBYTE)
    @errors_as(unexpected="Internal server error")
    @deadline(SECONDS)
    @signed_in
    @document_upload(*IMAGE_TYPES, "application/octet-stream")
    @document_failures(422)
    @validate_response(ScanResponse)
    async def scan_ingredients(caller: Identity) -> ScanResponse:
        """Scan a photograph: the bytes of an image, or the JSON of `/scan/analyze`.

        Accepts JPEG, PNG, WebP, HEIC and AVIF up to 10 MB, recognized by content.
        """
        incoming = cast("Request", request)
        if incoming.mimetype == "application/json":
            value, typed = await read_body(incoming)
            body = to_model(value, AnalyzeRequest, strict=typed)
            picture = await _picture_of_text(scans, caller, body.text(NO_FILE), NO_FILE)
            keep = body.store_image
        else:
            data = bytes(await incoming.body)
            picture = await _picture(scans, caller, _image(scans, incoming, data), NO_FILE)
            keep = incoming.args.get("store_image") == "true"
        return ScanResponse.of(await scans.scan(caller, picture, keep_image=keep))

    set_route_options(scan_ingredients, body=AnalyzeRequest)

    @bp.post("/scan/analyze")
    @max_body(15 * MEBIBYTE)  # base64 of 10 MiB, in JSON
    @errors_as(flagged=True, unexpected="Failed to analyze image")
    @deadline(SECONDS)
    @optional_caller
    @document_failures(403, 422)
    @validate_request(AnalyzeRequest)
    @validate_response(AnalyzeResponse)
    async def analyze(caller: Identity | None, data: AnalyzeRequest) -> AnalyzeResponse:
        """Scan a photograph sent as base64 text. Scans of guests are not stored."""
        picture = await _picture_of_text(scans, caller, data.text(), NO_DATA)
        result = await scans.analyze(
            caller, current_request_info().client_address, picture, keep_image=data.store_image
        )
        return AnalyzeResponse.of(result, authenticated=caller is not None)


def _read_routes(bp: Routes, scans: Scans) -> None:
    @bp.get("/scan/history")
    @errors_as(unexpected="Failed to fetch scan history")
    @signed_in
    @query_integers(limit=20, offset=0)
    @validate_response(ScanHistoryResponse)
    async def history(caller: Identity, limit: int, offset: int) -> ScanHistoryResponse:
        """The caller's scans, newest first."""
        rows = await scans.history(caller, limit, offset)
        return ScanHistoryResponse([ScanRow.of(scan) for scan in rows])

    @bp.get("/scan/<scan_id>")
    @signed_in
    @validate_response(ScanDetailResponse)
    async def get_scan(caller: Identity, scan_id: str) -> ScanDetailResponse:
        """One of the caller's scans."""
        parsed_id = parse_uuid(scan_id, scan_not_found())
        return ScanDetailResponse(ScanRow.of(await scans.get(caller, parsed_id)))

    @bp.put("/scan/<scan_id>/ingredients")
    @signed_in
    @validate_request(ScanCorrectionRequest)
    @validate_response(ScanCorrectionResponse)
    async def correct(
        caller: Identity, scan_id: str, data: ScanCorrectionRequest
    ) -> ScanCorrectionResponse:
        """Correct the ingredients of a scan; the model's list moves to `scan_metadata`."""
        ingredients = data.checked()
        parsed_id: UUID = parse_uuid(scan_id, correction_failed())
        scan = await scans.correct(caller, parsed_id, ingredients)
        return ScanCorrectionResponse(ScanRow.of(scan), "Ingredients updated")


def _image(scans: Scans, request: Request, data: bytes) -> bytes:
    """Return `data` if its content type or its content is that of an image.

    Raises ValidationError.
    """
    kind = request.mimetype
    if not (kind.startswith("image/") or kind in UNTYPED):
        try:
            scans.images.check(data)
        except ImageError:
            raise no_image(NO_FILE, SEND_AN_IMAGE) from None
    return data


async def _picture(scans: Scans, caller: Identity | None, data: bytes, error: str) -> Picture:
    """Prepare a photograph after charging the rate limit.

    Raises ValidationError, with the text `error` if there is no image, InvalidImage (422) and
    RateLimited (429).
    """
    if not data:
        raise no_image(error, "The image is empty")
    with _scan_errors(error):
        scans.images.check(data)
        await count_costly("scan", caller and caller.user_id)
        return await scans.picture(data)


async def _picture_of_text(scans: Scans, caller: Identity | None, text: str, error: str) -> Picture:
    """Prepare a photograph sent as base64, like `_picture`."""
    with _scan_errors(error):
        data = await scans.images.decode(text)
    return await _picture(scans, caller, data, error)


@contextmanager
def _scan_errors(error: str) -> Generator[None]:
    """Convert image errors to the errors of the scan routes."""
    try:
        yield
    except WrongImageType as wrong:
        raise no_image(error, wrong.message) from None
    except ImageTooLarge:
        raise no_image(TOO_LARGE, "The image may have 10 MB") from None
    except InvalidImage as invalid:
        raise invalid_image(invalid) from None
