"""The SQL of completion photos, under the caller's role."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import ANONYMOUS, Database, Transaction
from cookcam.features.recipes.photos.models import RecipePhotoRow
from cookcam.identity import Identity

COLUMNS: LiteralString = "id, recipe_id, user_id, photo_url, description, uploaded_at"

ADD = f"""
insert into public.recipe_completion_photos (user_id, recipe_id, photo_url, description)
values (%(user_id)s, %(recipe_id)s, %(photo_url)s, %(description)s)
returning {COLUMNS}"""  # noqa: S608 - constants

PAGE = f"""
select {COLUMNS} from public.recipe_completion_photos
where recipe_id = %(recipe_id)s
order by uploaded_at desc, id
limit %(limit)s offset %(offset)s"""  # noqa: S608 - constants

COUNT: LiteralString = """
select count(*) from public.recipe_completion_photos where recipe_id = %(recipe_id)s"""


@frozen
class PhotoStore:
    database: Database

    async def add(
        self,
        tx: Transaction,
        cook: Identity,
        recipe_id: UUID,
        photo_url: str,
        description: str | None,
    ) -> RecipePhotoRow:
        """Insert a photo; `tx` runs under the cook's role.

        Raises InsufficientPermissions or ForeignKeyError when the cook cannot see the recipe.
        """
        return await tx.fetch_one(
            RecipePhotoRow,
            ADD,
            user_id=cook.user_id,
            recipe_id=recipe_id,
            photo_url=photo_url,
            description=description,
        )

    async def page(
        self, reader: Identity | None, recipe_id: UUID, limit: int, offset: int
    ) -> tuple[list[RecipePhotoRow], int]:
        """A slice of the photos, newest first, and their total number."""
        actor = reader or ANONYMOUS
        rows = await self.database.fetch_all_as(
            actor, RecipePhotoRow, PAGE, recipe_id=recipe_id, limit=limit, offset=offset
        )
        return rows, await self.database.fetch_value_as(actor, COUNT, recipe_id=recipe_id)
