"""Response bodies of the scan routes."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict
from uuid import UUID

from attrs import asdict
from msgspec import UNSET, Struct, UnsetType

from cookcam.features.food.scans.models import DetectedIngredient, Scan, ScanResult


class ScannedIngredient(Struct):
    """All six fields are always present; unknown texts are empty."""

    name: str
    variety: str
    quantity: str
    unit: str
    confidence: float
    category: str

    @classmethod
    def of(cls, ingredient: DetectedIngredient) -> ScannedIngredient:
        return cls(**asdict(ingredient))


class StoredScanIngredient(TypedDict):
    """One detected or corrected ingredient; unknown texts are empty."""

    name: str
    variety: str
    quantity: str
    unit: str
    confidence: float
    category: str


class ScanMetadata(TypedDict):
    """Metadata of a scan; the keys depend on the route that created it.

    `processing_time` is in milliseconds, `image_size` in bytes. `original_ingredients` is the
    model's list, present after a correction.
    """

    processing_time: NotRequired[int]
    image_size: NotRequired[int]
    image_sha256: NotRequired[str]
    ingredients_count: NotRequired[int]
    original_ingredients: NotRequired[list[StoredScanIngredient]]


class ScanResponse(Struct):
    scan_id: UUID | None
    ingredients: list[ScannedIngredient]
    confidence_score: float
    xp_awarded: int

    @classmethod
    def of(cls, result: ScanResult) -> ScanResponse:
        ingredients = [ScannedIngredient.of(ingredient) for ingredient in result.ingredients]
        return cls(result.scan_id, ingredients, result.confidence_score, result.xp_awarded)


class AnalyzeResponse(Struct, kw_only=True):
    """`scan_id` is present when the scan was stored, which requires a signed-in caller."""

    success: bool
    scan_id: UUID | UnsetType = UNSET
    ingredients: list[ScannedIngredient]
    confidence_score: float
    xp_awarded: int
    user_authenticated: bool

    @classmethod
    def of(cls, result: ScanResult, *, authenticated: bool) -> AnalyzeResponse:
        return cls(
            success=True,
            scan_id=result.scan_id or UNSET,
            ingredients=[ScannedIngredient.of(ingredient) for ingredient in result.ingredients],
            confidence_score=result.confidence_score,
            xp_awarded=result.xp_awarded,
            user_authenticated=authenticated,
        )


class ScanRow(Struct):
    """A row of `ingredient_scans`; `image_url` is a link that is valid for an hour."""

    id: UUID
    user_id: UUID
    detected_ingredients: list[StoredScanIngredient]
    corrected: bool
    image_url: str | None
    confidence_score: float | None
    scan_metadata: ScanMetadata
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, scan: Scan) -> ScanRow:
        return cls(**asdict(scan, recurse=False))


class ScanHistoryResponse(Struct):
    scans: list[ScanRow]


class ScanDetailResponse(Struct):
    scan: ScanRow


class ScanCorrectionResponse(Struct):
    scan: ScanRow
    message: str
