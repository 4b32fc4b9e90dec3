"""The rules of scans: analysis, storage, quota and XP."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import structlog
import trio
from attrs import asdict, evolve, frozen

from cookcam.cache import SHORT, Cache
from cookcam.errors import AppError, InternalError, NotFound
from cookcam.features.billing.errors import LimitReached
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.food.scans.models import (
    Analysis,
    DetectedIngredient,
    Picture,
    Scan,
    ScanResult,
)
from cookcam.features.food.scans.store import ScanStore
from cookcam.features.food.scans.vision import Vision
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity
from cookcam.images import Images, InvalidImage
from cookcam.integrations.supabase.storage import Storage, new_key

FIT = (800, 800)
"""Maximum width and height in pixels of the image that is sent to the model."""

QUOTA = "daily_scans"
REPEAT_SECONDS = SHORT
"""A request that is repeated within this period returns the first result."""


class ScanNotStored(Exception):
    """The row of an analysis could not be written; its result must not be cached."""

    def __init__(self, result: ScanResult) -> None:
        super().__init__()
        self.result = result


@frozen
class Scans:
    """Analyses photographs.

    The daily limit of signed-in users is checked before the model is called. It is enforced in the
    transaction that stores the scan, counts it and awards XP. Scans of guests are not stored; a
    rate limit counts them. A cancelled request stores nothing.
    """

    store: ScanStore
    vision: Vision
    images: Images
    storage: Storage
    quotas: Quotas
    xp: Xp
    cache: Cache

    async def picture(self, data: bytes) -> Picture:
        """Prepare a photograph. Raises WrongImageType (400), ImageTooLarge, InvalidImage (422)."""
        began = trio.current_time()
        jpeg = await self.images.prepare(data, fit=FIT)
        digest = await trio.to_thread.run_sync(hashlib.sha256, data)
        return Picture(jpeg, len(data), digest.hexdigest(), began)

    async def scan(self, owner: Identity, picture: Picture, *, keep_image: bool) -> ScanResult:
        """Scan a photograph of the camera; repeats are analysed again.

        Raises LimitReached (403), AnalysisFailed (422), InternalError when the row cannot be
        written, and what the model's client raises.
        """
        await self._require_quota(owner)
        analysis = await self._analysis(picture)
        metadata = {"image_size": picture.size, "processing_time": analysis.milliseconds}
        try:
            return await self._store(
                owner, picture, analysis, metadata, "ingredient_scan", keep_image=keep_image
            )
        except LimitReached:
            raise
        except AppError as error:
            if error.status in (503, 504):
                raise
            raise InternalError(error="Failed to store scan result") from error

    async def analyze(
        self, caller: Identity | None, address: str, picture: Picture, *, keep_image: bool
    ) -> ScanResult:
        """Scan a photograph for the app. A repeat within five minutes shares the first scan, even a
        running one, and awards no XP.

        `address` identifies a guest. If the row cannot be written, the result has no scan id.
        Raises LimitReached (403), AnalysisFailed (422), and what the model's client raises.
        """
        own: ScanResult | None = None

        async def produce() -> dict[str, Any]:
            nonlocal own
            own = await self._analyzed(caller, picture, keep_image=keep_image)
            return asdict(own)

        client = address if caller is None else str(caller.user_id)
        key = hashlib.sha256(f"{client}|{picture.sha256}".encode()).hexdigest()
        try:
            cached = await self.cache.get_or("scans", key, REPEAT_SECONDS, produce)
        except ScanNotStored as unstored:
            return unstored.result
        return own if own is not None else _repeated(cached)

    async def history(self, owner: Identity, limit: int, offset: int) -> list[Scan]:
        """The owner's scans, newest first, with links to their stored images."""
        return await self._with_links(await self.store.page(owner, limit, offset))

    async def get(self, owner: Identity, scan_id: UUID) -> Scan:
        """Raises NotFound."""
        scan = await self.store.find(owner, scan_id)
        if scan is None:
            raise scan_not_found()
        (linked,) = await self._with_links([scan])
        return linked

    async def correct(
        self, owner: Identity, scan_id: UUID, ingredients: list[DetectedIngredient]
    ) -> Scan:
        """Replace the detected ingredients; the model's list moves to the metadata.

        Raises NotFound.
        """
        try:
            scan = await self.store.correct(owner, scan_id, ingredients)
        except NotFound:
            raise correction_failed() from None
        (linked,) = await self._with_links([scan])
        return linked

    async def _analyzed(
        self, caller: Identity | None, picture: Picture, *, keep_image: bool
    ) -> ScanResult:
        if caller is None:
            analysis = await self._analysis(picture)
            return ScanResult(None, analysis.ingredients, analysis.confidence_score, 0)
        # The first request may have run on another instance, whose cache is separate.
        earlier = await self.store.recent(caller, picture.sha256, REPEAT_SECONDS)
        if earlier is not None:
            return _result_of(earlier)
        await self._require_quota(caller)
        analysis = await self._analysis(picture)
        metadata = {
            "ingredients_count": len(analysis.ingredients),
            "processing_time": analysis.milliseconds,
            "image_sha256": picture.sha256,
        }
        try:
            return await self._store(
                caller, picture, analysis, metadata, "image_scan_analysis", keep_image=keep_image
            )
        except LimitReached:
            raise
        except AppError as error:
            structlog.get_logger(__name__).warning("scan not stored", code=error.code)
            unstored = ScanResult(None, analysis.ingredients, analysis.confidence_score, 0)
        raise ScanNotStored(unstored)

    async def _require_quota(self, owner: Identity) -> None:
        """Raises LimitReached before the model is called. `_store` enforces the limit."""
        usage = await self.quotas.usage(owner.user_id, QUOTA)
        if usage.exhausted:
            raise LimitReached.of(usage)

    async def _analysis(self, picture: Picture) -> Analysis:
        ingredients = await self.vision.detect_ingredients(picture.jpeg)
        seconds = trio.current_time() - picture.began
        return Analysis(ingredients, round(seconds * 1000))

    async def _store(
        self,
        owner: Identity,
        picture: Picture,
        analysis: Analysis,
        metadata: dict[str, Any],
        action: str,
        *,
        keep_image: bool,
    ) -> ScanResult:
        """Store the row, consume the quota and award XP in one transaction."""
        image_key = await self._store_image(owner, picture) if keep_image else None
        try:
            async with self.store.database.transaction_as(owner) as tx:
                await self.quotas.consume(tx, owner.user_id, QUOTA)
                scan_id = await self.store.add(tx, owner, analysis, metadata, image_key)
                award = await self.xp.award(
                    tx,
                    owner.user_id,
                    action,
                    subject=str(scan_id),
                    metadata={
                        "scan_id": str(scan_id),
                        "ingredients_count": len(analysis.ingredients),
                    },
                )
        except BaseException:
            if image_key is not None:
                await self.storage.discard("scans", image_key)
            raise
        return ScanResult(scan_id, analysis.ingredients, analysis.confidence_score, award.xp_gained)

    async def _store_image(self, owner: Identity, picture: Picture) -> str | None:
        """Store the image and return its key; None if that fails, which does not fail the scan."""
        key = new_key("scans", owner.user_id)
        try:
            await self.storage.put("scans", key, picture.jpeg)
        except AppError as error:
            structlog.get_logger(__name__).warning("scan image not stored", code=error.code)
            return None
        return key

    async def _with_links(self, scans: list[Scan]) -> list[Scan]:
        """Replace image keys by signed links, or by None while the storage is unavailable."""
        keys = [scan.image_url for scan in scans if scan.image_url is not None]
        links: dict[str, str] = {}
        if keys:
            try:
                links = await self.storage.signed_urls("scans", keys)
            except AppError as error:
                structlog.get_logger(__name__).warning("scan images unavailable", code=error.code)
        return [
            scan if scan.image_url is None else evolve(scan, image_url=links.get(scan.image_url))
            for scan in scans
        ]


def scan_not_found() -> NotFound:
    return NotFound("Scan not found", error="Scan not found")


def correction_failed() -> NotFound:
    return NotFound("Scan not found", error="Scan not found or update failed")


def invalid_image(error: InvalidImage) -> InvalidImage:
    """The error in the form of the scan routes."""
    return InvalidImage(
        error.message, error="Failed to analyze image", details={"reason": error.message}
    )


def _result_of(earlier: Scan) -> ScanResult:
    return ScanResult(
        earlier.id,
        [DetectedIngredient(**item) for item in earlier.detected_ingredients],
        earlier.confidence_score or 0.0,
        0,
    )


def _repeated(cached: dict[str, Any]) -> ScanResult:
    """The cached result without its XP, which only the first request awards."""
    return ScanResult(
        UUID(cached["scan_id"]) if cached["scan_id"] else None,
        [DetectedIngredient(**item) for item in cached["ingredients"]],
        cached["confidence_score"],
        0,
    )
