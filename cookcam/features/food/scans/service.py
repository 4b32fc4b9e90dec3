"""The rules of scans: what is seen, what is stored, what it costs and what it earns."""

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
"""Pixels; what the model gets to see (`spec/http-api-core.md` §10)."""

QUOTA = "daily_scans"
REPEAT_SECONDS = SHORT
"""A request that is repeated within this gets its first result (`spec/client-contract.md` §2.1)."""


class NotStored(Exception):
    """An analysis whose row could not be written; nothing to keep for a repeat either."""

    def __init__(self, result: ScanResult) -> None:
        super().__init__()
        self.result = result


@frozen
class Scans:
    """Scans of signed-in people are stored, counted and rewarded in one transaction; guests leave
    nothing behind. What was cancelled, by the deadline or because the client left, stores nothing.
    """

    store: ScanStore
    vision: Vision
    images: Images
    storage: Storage
    quotas: Quotas
    xp: Xp
    cache: Cache

    async def picture(self, data: bytes) -> Picture:
        """Raises WrongImageType (400), ImageTooLarge, InvalidImage (422)."""
        began = trio.current_time()
        jpeg = await self.images.prepare(data, fit=FIT)
        digest = await trio.to_thread.run_sync(hashlib.sha256, data)
        return Picture(jpeg, len(data), digest.hexdigest(), began)

    async def scan(self, owner: Identity, picture: Picture, *, keep_image: bool) -> ScanResult:
        """One scan by the camera, each time anew.

        Raises LimitReached (403), AnalysisFailed (422), InternalError when the row cannot be
        written, and what the model's client raises.
        """
        await self._require_quota(owner)
        analysis = await self._analysis(picture)
        metadata = {"image_size": picture.size, "processing_time": analysis.milliseconds}
        try:
            return await self._stored(
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
        """The app's scan. A repeat within five minutes is no second scan: it gets the first one's
        result, joins it if it is still under way, and earns nothing.

        `address` stands for a guest. A row that cannot be written is left out of the result.
        Raises LimitReached (403), AnalysisFailed (422), and what the model's client raises.
        """
        own: ScanResult | None = None

        async def produce() -> dict[str, Any]:
            nonlocal own
            own = await self._analyzed(caller, picture, keep_image=keep_image)
            return asdict(own)

        who = address if caller is None else str(caller.user_id)
        key = hashlib.sha256(f"{who}|{picture.sha256}".encode()).hexdigest()
        try:
            kept = await self.cache.get_or("scans", key, REPEAT_SECONDS, produce)
        except NotStored as analyzed:
            return analyzed.result
        return own if own is not None else _repeated(kept)

    async def history(self, owner: Identity, limit: int, offset: int) -> list[Scan]:
        """The owner's scans, newest first, with links to the images that were kept."""
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
        """Replaces what the model saw by what is really there; its own list is kept beside.

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
        # Another instance, which this one's cache knows nothing of, may have answered the first.
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
            return await self._stored(
                caller, picture, analysis, metadata, "image_scan_analysis", keep_image=keep_image
            )
        except LimitReached:
            raise
        except AppError as error:
            structlog.get_logger(__name__).warning("scan was not stored", code=error.code)
            unstored = ScanResult(None, analysis.ingredients, analysis.confidence_score, 0)
        raise NotStored(unstored)

    async def _require_quota(self, owner: Identity) -> None:
        """So that the model is not asked for nothing; what counts is the count in `_stored`."""
        usage = await self.quotas.usage(owner.user_id, QUOTA)
        if usage.exhausted:
            raise LimitReached.of(usage)

    async def _analysis(self, picture: Picture) -> Analysis:
        ingredients = await self.vision.ingredients_on(picture.jpeg)
        seconds = trio.current_time() - picture.began
        return Analysis(ingredients, round(seconds * 1000))

    async def _stored(
        self,
        owner: Identity,
        picture: Picture,
        analysis: Analysis,
        metadata: dict[str, Any],
        action: str,
        *,
        keep_image: bool,
    ) -> ScanResult:
        """Row, quota and XP: all or nothing."""
        image_key = await self._kept(owner, picture) if keep_image else None
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
                await self._forget(image_key)
            raise
        self.xp.announce(award)
        return ScanResult(scan_id, analysis.ingredients, analysis.confidence_score, award.xp_gained)

    async def _kept(self, owner: Identity, picture: Picture) -> str | None:
        """The key of the stored image; a scan does not fail for its image."""
        key = new_key("scans", owner.user_id)
        try:
            await self.storage.put("scans", key, picture.jpeg)
        except AppError as error:
            structlog.get_logger(__name__).warning("scan image was not kept", code=error.code)
            return None
        return key

    async def _forget(self, key: str) -> None:
        """An image whose scan was not stored is nobody's, so not to be left lying."""
        with trio.move_on_after(3, shield=True):
            try:
                await self.storage.delete("scans", [key])
            except AppError as error:
                structlog.get_logger(__name__).warning("scan image is left over", code=error.code)

    async def _with_links(self, scans: list[Scan]) -> list[Scan]:
        """The scans with a signed link in place of each key; none where there is none to be had."""
        keys = [scan.image_url for scan in scans if scan.image_url is not None]
        links: dict[str, str] = {}
        if keys:
            try:
                links = await self.storage.signed_urls("scans", keys)
            except AppError as error:
                structlog.get_logger(__name__).warning("scan images are away", code=error.code)
        return [
            scan if scan.image_url is None else evolve(scan, image_url=links.get(scan.image_url))
            for scan in scans
        ]


def scan_not_found() -> NotFound:
    return NotFound("Scan not found", error="Scan not found")


def correction_failed() -> NotFound:
    return NotFound("Scan not found", error="Scan not found or update failed")


def invalid_image(found: InvalidImage) -> InvalidImage:
    """In the words of scans: code INVALID_IMAGE beside ANALYSIS_FAILED."""
    return InvalidImage(
        found.message, error="Failed to analyze image", details={"reason": found.message}
    )


def _result_of(earlier: Scan) -> ScanResult:
    return ScanResult(
        earlier.id,
        [DetectedIngredient(**item) for item in earlier.detected_ingredients],
        earlier.confidence_score or 0.0,
        0,
    )


def _repeated(kept: dict[str, Any]) -> ScanResult:
    """What was kept of a result; the XP were for the first."""
    return ScanResult(
        UUID(kept["scan_id"]) if kept["scan_id"] else None,
        [DetectedIngredient(**item) for item in kept["ingredients"]],
        kept["confidence_score"],
        0,
    )
