"""The SQL of scans, under the role of their owner."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from attrs import asdict, frozen

from cookcam.database import Database, Jsonb, Transaction
from cookcam.features.food.scans.models import Analysis, DetectedIngredient, Scan
from cookcam.identity import Identity

COLUMNS: LiteralString = """
  id, user_id, detected_ingredients, corrected, image_url, confidence_score, scan_metadata,
  created_at, updated_at"""

PAGE = f"""
select {COLUMNS} from public.ingredient_scans
where user_id = %(user_id)s
order by created_at desc, id limit %(limit)s offset %(offset)s"""  # noqa: S608 - constants

FIND = f"""
select {COLUMNS} from public.ingredient_scans
where id = %(scan_id)s and user_id = %(user_id)s"""  # noqa: S608 - constants

RECENT = f"""
select {COLUMNS} from public.ingredient_scans
where user_id = %(user_id)s and created_at > now() - make_interval(secs => %(seconds)s)
  and scan_metadata ->> 'image_sha256' = %(sha256)s
order by created_at desc limit 1"""  # noqa: S608 - constants

INSERT: LiteralString = """
insert into public.ingredient_scans
  (user_id, detected_ingredients, image_url, confidence_score, scan_metadata)
values (%(user_id)s, %(ingredients)s, %(image_key)s, %(confidence)s, %(metadata)s)
returning id"""

# The first correction moves the model's list to the metadata; later ones leave it there.
CORRECT = f"""
update public.ingredient_scans set
  scan_metadata = case when corrected then scan_metadata
    else scan_metadata || jsonb_build_object('original_ingredients', detected_ingredients) end,
  detected_ingredients = %(ingredients)s,
  corrected = true
where id = %(scan_id)s and user_id = %(user_id)s
returning {COLUMNS}"""  # noqa: S608 - constants


@frozen
class ScanStore:
    database: Database

    async def page(self, owner: Identity, limit: int, offset: int) -> list[Scan]:
        """A slice of the owner's scans, newest first."""
        return await self.database.fetch_all_as(
            owner, Scan, PAGE, user_id=owner.user_id, limit=limit, offset=offset
        )

    async def find(self, owner: Identity, scan_id: UUID) -> Scan | None:
        return await self.database.fetch_optional_as(
            owner, Scan, FIND, scan_id=scan_id, user_id=owner.user_id
        )

    async def recent(self, owner: Identity, sha256: str, seconds: float) -> Scan | None:
        """The owner's latest scan of that image, if it is at most `seconds` old."""
        return await self.database.fetch_optional_as(
            owner, Scan, RECENT, user_id=owner.user_id, sha256=sha256, seconds=seconds
        )

    async def add(
        self,
        tx: Transaction,
        owner: Identity,
        analysis: Analysis,
        metadata: dict[str, Any],
        image_key: str | None,
    ) -> UUID:
        """Insert a scan and return its id; `tx` runs under the owner's role."""
        return await tx.fetch_value(
            INSERT,
            user_id=owner.user_id,
            ingredients=Jsonb([asdict(ingredient) for ingredient in analysis.ingredients]),
            image_key=image_key,
            confidence=analysis.confidence_score,
            metadata=Jsonb(metadata),
        )

    async def correct(
        self, owner: Identity, scan_id: UUID, ingredients: list[DetectedIngredient]
    ) -> Scan:
        """Correct a scan and return its row. Raises NotFound."""
        async with self.database.transaction_as(owner) as tx:
            return await tx.fetch_one(
                Scan,
                CORRECT,
                scan_id=scan_id,
                user_id=owner.user_id,
                ingredients=Jsonb([asdict(ingredient) for ingredient in ingredients]),
            )
