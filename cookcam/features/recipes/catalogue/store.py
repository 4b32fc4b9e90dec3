"""The SQL of recipes.

Statements run under the reader's or writer's role, or as a guest, so row policies apply: published
and own rows can be read, own rows can be written. A write that a policy filters out affects no row,
which is reported as NotFound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

from attrs import asdict, frozen

from cookcam.database import ANONYMOUS, SERVICE, Database, Jsonb, Transaction
from cookcam.features.recipes.catalogue.models import (
    GeneratedContent,
    Recipe,
    RecipeContent,
    RecipeQuery,
    RecipeSlice,
)
from cookcam.identity import Identity

COLUMNS: LiteralString = """
  r.id, r.title, r.description, r.cuisine, r.image_url, r.prep_time, r.cook_time, r.difficulty,
  r.servings, r.ingredients, r.instructions, r.tags, r.nutrition, r.ai_metadata, r.created_by,
  r.is_generated, r.is_published, r.is_featured, r.view_count, r.saves_count,
  r.rating_avg::float8 as rating_avg, r.rating_count, r.trending_score::float8 as trending_score,
  r.created_at, r.updated_at,
  coalesce(
    (
      select json_agg(
        json_build_object(
          'id', ri.id, 'quantity', ri.quantity, 'unit', ri.unit, 'preparation', ri.preparation,
          'ingredient', case when i.id is not null then json_build_object(
            'id', i.id, 'name', i.name, 'category', i.category,
            'calories_per_100g', i.calories_per_100g, 'protein_g_per_100g', i.protein_g_per_100g,
            'carbs_g_per_100g', i.carbs_g_per_100g, 'fat_g_per_100g', i.fat_g_per_100g,
            'fiber_g_per_100g', i.fiber_g_per_100g, 'sodium_mg_per_100g', i.sodium_mg_per_100g
          ) end
        ) order by ri.order_index, ri.id
      )
      from public.recipe_ingredients ri
      left join public.ingredients i on i.id = ri.ingredient_id
      where ri.recipe_id = r.id
    ),
    '[]'
  ) as recipe_ingredients"""

FIND = f"select {COLUMNS} from public.recipes r where r.id = %(recipe_id)s"  # noqa: S608 - constants

FIND_ALL = f"select {COLUMNS} from public.recipes r where r.id = any(%(ids)s::uuid[])"  # noqa: S608

# The last word matches as a prefix. `plainto_tsquery` treats any text as words, so clients cannot
# inject query syntax; a text without words matches nothing.
SEARCH_QUERY = """(
  case when numnode(plainto_tsquery('simple', %(search)s)) > 0
  then (plainto_tsquery('simple', %(search)s)::text || ':*')::tsquery
  else ''::tsquery end
)"""

NEWEST: LiteralString = "r.created_at desc, r.id"
TRENDING: LiteralString = "r.trending_score desc, r.created_at desc, r.id"
BEST_MATCH: LiteralString = f"ts_rank(r.search_tsv, {SEARCH_QUERY}) desc, {NEWEST}"

INSERT = f"""
insert into public.recipes as r (
  created_by, title, description, cuisine, prep_time, cook_time, difficulty, servings, ingredients,
  instructions, tags, nutrition, ai_metadata, is_published
)
values (
  %(author)s, %(title)s, %(description)s, %(cuisine)s, %(prep_time)s, %(cook_time)s,
  %(difficulty)s, %(servings)s, coalesce(%(ingredients)s::jsonb, '[]'),
  coalesce(%(instructions)s::text[], '{{}}'), coalesce(%(tags)s::text[], '{{}}'),
  %(nutrition)s::jsonb,
  case when %(steps)s::jsonb is not null then jsonb_build_object('steps', %(steps)s::jsonb) end,
  coalesce(%(is_published)s, false)
)
returning {COLUMNS}"""  # noqa: S608 - constants

# New instructions also replace or remove the detailed steps.
UPDATE = f"""
update public.recipes r set
  title = coalesce(%(title)s, title),
  description = coalesce(%(description)s, description),
  cuisine = coalesce(%(cuisine)s, cuisine),
  prep_time = coalesce(%(prep_time)s, prep_time),
  cook_time = coalesce(%(cook_time)s, cook_time),
  difficulty = coalesce(%(difficulty)s, difficulty),
  servings = coalesce(%(servings)s, servings),
  ingredients = coalesce(%(ingredients)s::jsonb, ingredients),
  instructions = coalesce(%(instructions)s::text[], instructions),
  tags = coalesce(%(tags)s::text[], tags),
  nutrition = coalesce(%(nutrition)s::jsonb, nutrition),
  ai_metadata = case
    when %(steps)s::jsonb is not null
      then coalesce(ai_metadata, '{{}}') || jsonb_build_object('steps', %(steps)s::jsonb)
    when %(instructions)s::text[] is not null then ai_metadata - 'steps'
    else ai_metadata
  end,
  is_published = coalesce(%(is_published)s, is_published)
where r.id = %(recipe_id)s
returning {COLUMNS}"""  # noqa: S608 - constants

# Generated recipes are unpublished and may share a title.
INSERT_GENERATED = f"""
insert into public.recipes as r (
  created_by, title, description, cuisine, prep_time, cook_time, difficulty, servings, ingredients,
  instructions, tags, nutrition, ai_metadata, is_generated
)
select
  %(author)s, e.v ->> 'title', e.v ->> 'description', e.v ->> 'cuisine',
  (e.v ->> 'prep_time')::integer, (e.v ->> 'cook_time')::integer, e.v ->> 'difficulty',
  (e.v ->> 'servings')::smallint, e.v -> 'ingredients',
  array(select jsonb_array_elements_text(e.v -> 'instructions')),
  array(select jsonb_array_elements_text(e.v -> 'tags')),
  nullif(e.v -> 'nutrition', 'null'), e.v -> 'ai_metadata', true
from jsonb_array_elements(%(recipes)s::jsonb) with ordinality as e (v, n)
order by e.n
returning {COLUMNS}"""  # noqa: S608 - constants

FIND_GENERATED = f"""
select {COLUMNS} from public.recipes r
where r.created_by = %(author)s and r.is_generated and r.ai_metadata @> %(metadata)s
order by r.created_at limit 1"""  # noqa: S608 - constants

DELETE = "delete from public.recipes where id = %(recipe_id)s"

# The saving feature owns this table; every view of a recipe needs its state.
FAVORITES: LiteralString = """
select recipe_id from public.saved_recipes
where user_id = %(user_id)s and recipe_id = any(%(ids)s::uuid[])"""

COUNT_VIEW: LiteralString = "select public.increment_recipe_views(%(recipe_id)s)"


@frozen
class ListedId:
    """A recipe of a slice, and the number of recipes in the whole list."""

    id: UUID
    total: int


@frozen
class Favorite:
    recipe_id: UUID


@frozen
class RecipeStore:
    database: Database

    async def page(self, reader: Identity | None, query: RecipeQuery) -> RecipeSlice:
        """A slice of the recipes that `reader` (None: a guest) may see, and the total number.

        The first read selects ids as SERVICE with the policy's condition in its WHERE clause: under
        row policies PostgreSQL uses no index for searches and tags, whose operators are not
        leakproof. The second read fetches the rows under the reader's role, so policies apply.
        """
        where, params = _condition(reader, query)
        order = BEST_MATCH if query.search else TRENDING if query.trending else NEWEST
        counting: LiteralString = f"select count(*) from public.recipes r where {where}"  # noqa: S608
        ids = await self.database.fetch_all_as(
            SERVICE,
            ListedId,
            f"select r.id, ({counting}) as total from public.recipes r where {where}"  # noqa: S608
            f" order by {order} limit %(limit)s offset %(offset)s",
            **params,
            limit=query.limit,
            offset=query.offset,
        )
        if not ids and query.offset == 0:
            return RecipeSlice([], 0)
        if not ids:
            total = await self.database.fetch_value_as(SERVICE, counting, **params)
            return RecipeSlice([], total)
        return RecipeSlice(await self.find_many(reader, [row.id for row in ids]), ids[0].total)

    async def find_many(self, reader: Identity | None, recipe_ids: Sequence[UUID]) -> list[Recipe]:
        """The recipes that `reader` (None: a guest) may see, in the order of `recipe_ids`."""
        rows = await self.database.fetch_all_as(
            reader or ANONYMOUS, Recipe, FIND_ALL, ids=list(recipe_ids)
        )
        by_id = {recipe.id: recipe for recipe in rows}
        return [by_id[recipe_id] for recipe_id in recipe_ids if recipe_id in by_id]

    async def find(self, reader: Identity | None, recipe_id: UUID) -> Recipe | None:
        """The recipe, if `reader` (None: a guest) may see it."""
        return await self.database.fetch_optional_as(
            reader or ANONYMOUS, Recipe, FIND, recipe_id=recipe_id
        )

    async def favorites(self, reader: Identity, recipe_ids: Sequence[UUID]) -> set[UUID]:
        """The subset of the recipes that the reader has saved."""
        rows = await self.database.fetch_all_as(
            reader, Favorite, FAVORITES, user_id=reader.user_id, ids=list(recipe_ids)
        )
        return {row.recipe_id for row in rows}

    async def count_view(self, recipe_id: UUID) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(COUNT_VIEW, recipe_id=recipe_id)

    async def add(self, author: Identity, content: RecipeContent) -> Recipe:
        """Raises DuplicateEntry when the author has a recipe of that title, ignoring case."""
        async with self.database.transaction_as(author) as tx:
            return await tx.fetch_one(Recipe, INSERT, author=author.user_id, **_values(content))

    async def add_generated(
        self, tx: Transaction, author: Identity, recipes: Sequence[GeneratedContent]
    ) -> list[Recipe]:
        """Insert the recipes and return their rows in order. `tx` runs under the author's role."""
        rows = [
            {
                **asdict(recipe.content, recurse=False),
                "ingredients": recipe.content.ingredients or [],
                "instructions": recipe.content.instructions or [],
                "tags": recipe.content.tags or [],
                "ai_metadata": recipe.metadata,
            }
            for recipe in recipes
        ]
        return await tx.fetch_all(
            Recipe, INSERT_GENERATED, author=author.user_id, recipes=Jsonb(rows)
        )

    async def find_generated(
        self, tx: Transaction, author: Identity, metadata: dict[str, Any]
    ) -> Recipe | None:
        """The author's first generated recipe whose metadata contains `metadata`."""
        return await tx.fetch_optional(
            Recipe, FIND_GENERATED, author=author.user_id, metadata=Jsonb(metadata)
        )

    async def change(self, writer: Identity, recipe_id: UUID, content: RecipeContent) -> Recipe:
        """Update a row and return it. Raises NotFound when `writer` has no such recipe."""
        async with self.database.transaction_as(writer) as tx:
            return await tx.fetch_one(Recipe, UPDATE, recipe_id=recipe_id, **_values(content))

    async def delete(self, writer: Identity, recipe_id: UUID) -> bool:
        """Delete the recipe. Returns False when `writer` has no such recipe."""
        async with self.database.transaction_as(writer) as tx:
            return await tx.execute(DELETE, recipe_id=recipe_id) > 0


def _condition(reader: Identity | None, query: RecipeQuery) -> tuple[LiteralString, dict[str, Any]]:
    """The WHERE clause of a query, composed of constants, and its parameters.

    Its first condition repeats the row policy: published recipes and the reader's own.
    """
    conditions: list[LiteralString] = ["r.is_published"]
    params: dict[str, Any] = {}
    if reader is not None:
        conditions = ["(r.is_published or r.created_by = %(reader)s)"]
        params["reader"] = reader.user_id
    if query.author is not None:
        conditions.append("r.created_by = %(author)s")
        params["author"] = query.author
    if query.search:
        conditions.append(f"r.search_tsv @@ {SEARCH_QUERY}")
        params["search"] = query.search
    if query.tags:
        conditions.append("r.tags && %(tags)s::text[]")
        params["tags"] = list(query.tags)
    if query.difficulty is not None:
        conditions.append("r.difficulty = %(difficulty)s")
        params["difficulty"] = query.difficulty
    return " and ".join(conditions), params


def _values(content: RecipeContent) -> dict[str, Any]:
    values = asdict(content, recurse=False)
    for column in ("ingredients", "steps", "nutrition"):
        values[column] = None if values[column] is None else Jsonb(values[column])
    return values
