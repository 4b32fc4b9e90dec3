"""The SQL of recipes.

Statements run under the reader's or writer's role, or as a guest, so row policies apply: published
and own rows can be read, own rows can be written. A write that a policy filters out affects no row,
which is reported as NotFound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString, cast
from uuid import UUID

from attrs import asdict, frozen

from cookcam.database import ANONYMOUS, SERVICE, Database, Jsonb, Transaction
from cookcam.features.pages import time_text
from cookcam.features.recipes.catalogue.models import (
    GeneratedContent,
    Recipe,
    RecipeContent,
    RecipeJson,
    RecipeQuery,
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

# The last word matches as a prefix. `plainto_tsquery` treats any text as words, so clients cannot
# inject query syntax; a text without words matches nothing.
SEARCH_QUERY = """(
  case when numnode(plainto_tsquery('simple', %(search)s)) > 0
  then (plainto_tsquery('simple', %(search)s)::text || ':*')::tsquery
  else ''::tsquery end
)"""

# Orders of a list, by columns of `_listed`.
NEWEST: LiteralString = "created_at desc, id"
TRENDING: LiteralString = "trending_score desc, created_at desc, id"
BEST_MATCH: LiteralString = "rank desc, created_at desc, id"

INSERT: LiteralString = """
insert into public.recipes as r (
  created_by, title, description, cuisine, prep_time, cook_time, difficulty, servings, ingredients,
  instructions, tags, nutrition, ai_metadata, is_published
)
values (
  %(author)s, %(title)s, %(description)s, %(cuisine)s, %(prep_time)s, %(cook_time)s,
  %(difficulty)s, %(servings)s, coalesce(%(ingredients)s::jsonb, '[]'),
  coalesce(%(instructions)s::text[], '{}'), coalesce(%(tags)s::text[], '{}'),
  %(nutrition)s::jsonb,
  case when %(steps)s::jsonb is not null then jsonb_build_object('steps', %(steps)s::jsonb) end,
  coalesce(%(is_published)s, false)
)
returning *"""

# New instructions also replace or remove the detailed steps.
UPDATE: LiteralString = """
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
      then coalesce(ai_metadata, '{}') || jsonb_build_object('steps', %(steps)s::jsonb)
    when %(instructions)s::text[] is not null then ai_metadata - 'steps'
    else ai_metadata
  end,
  is_published = coalesce(%(is_published)s, is_published)
where r.id = %(recipe_id)s
returning *"""

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

COUNT_VIEW: LiteralString = "select public.increment_recipe_views(%(recipe_id)s)"


# Joins to `recipes as r` the JSON of RecipeRow without the fields that depend on the reader.
# OFFSET 0 keeps PostgreSQL from copying the expressions to each place that uses them. 50 is the
# maximum trending score of a recipe without views, saves or ratings.
_ROW: LiteralString = f"""
cross join lateral (select public.user_card(r.created_by) as card offset 0) as creator
cross join lateral (
  select
    r.id, r.title, r.description, r.cuisine, r.cuisine as cuisine_type, r.image_url,
    r.prep_time, r.prep_time as prep_time_minutes, r.cook_time, r.cook_time as cook_time_minutes,
    coalesce(r.prep_time + r.cook_time, r.prep_time, r.cook_time) as total_time_minutes,
    r.difficulty, r.servings, r.ingredients,
    case
      when jsonb_typeof(r.ai_metadata -> 'steps') = 'array' and r.ai_metadata -> 'steps' <> '[]'
      then r.ai_metadata -> 'steps'
      else to_jsonb(r.instructions)
    end as instructions,
    r.tags, r.nutrition, r.nutrition as nutrition_info,
    r.created_by, creator.card as creator, creator.card -> 'name' as creator_name,
    r.is_generated, r.is_published, r.is_featured,
    r.trending_score > 50 as is_trending,
    r.view_count, r.saves_count, r.rating_avg::float8, r.rating_count, r.trending_score::float8,
    {time_text("r.created_at")} as created_at, {time_text("r.updated_at")} as updated_at,
    coalesce(
      (
        select json_agg(linked)
        from (
          select
            ri.id, ri.quantity, ri.unit, ri.preparation,
            (
              select food
              from (
                select
                  i.id, i.name, i.category, i.calories_per_100g, i.protein_g_per_100g,
                  i.carbs_g_per_100g, i.fat_g_per_100g, i.fiber_g_per_100g, i.sodium_mg_per_100g
                from public.ingredients i where i.id = ri.ingredient_id
              ) as food
            ) as ingredient
          from public.recipe_ingredients ri
          where ri.recipe_id = r.id
          order by ri.order_index, ri.id
        ) as linked
      ),
      '[]'
    ) as recipe_ingredients
  offset 0
) as recipe"""  # noqa: S608 - constants

_GUEST_ITEM: LiteralString = "to_json(recipe)"

# The saving feature owns `saved_recipes`.
_READER_ITEM: LiteralString = """(
  select case
    when r.created_by = %(reader)s
    then (select to_json(own) from (select recipe.*, is_favorited, r.ai_metadata) as own)
    else (select to_json(other) from (select recipe.*, is_favorited) as other)
  end
  from (
    select exists (
      select from public.saved_recipes s where s.user_id = %(reader)s and s.recipe_id = r.id
    ) as is_favorited
  ) as reader
)"""


def recipe_json(*, signed_in: bool) -> tuple[LiteralString, LiteralString]:
    """For a statement over `recipes as r`: the JSON of a RecipeRow, and the joins that it needs.

    The parameter `reader` is the id of the reader, who is a guest unless `signed_in`.
    """
    return (_READER_ITEM if signed_in else _GUEST_ITEM), _ROW


@frozen
class RecipeList:
    """A slice of a list as a JSON array, and the number of the reader's drafts in the list."""

    recipes: bytes
    drafts: int


@frozen
class ListedRecipe:
    """A recipe of a slice, and the number of the reader's drafts in the list."""

    id: UUID
    drafts: int


@frozen
class RecipeStore:
    database: Database

    async def page(self, reader: Identity | None, query: RecipeQuery) -> RecipeList:
        """A slice of the recipes that `reader` (None: a guest) may see, in one read.

        Two reads for searches and tags: under row policies PostgreSQL uses no index for them,
        because their operators are not leakproof. The first read then selects ids as SERVICE, and
        `_listed` has the policy's condition. In both cases policies apply to the rows that are
        shown.
        """
        listed, drafts = _listed(reader, query)
        params = _parameters(reader, query)
        if query.search or query.tags:
            ids = await self.database.fetch_all_as(
                SERVICE,
                ListedRecipe,
                f"select id, ({drafts}) as drafts from ({listed}) as listed order by position",  # noqa: S608
                **params,
            )
            listed = "unnest(%(ids)s::uuid[]) with ordinality as listed (id, position)"
            drafts = "%(drafts)s"
            params["ids"] = [row.id for row in ids]
            params["drafts"] = ids[0].drafts if ids else 0
        else:
            listed = f"({listed}) as listed"
        item, joins = recipe_json(signed_in=reader is not None)
        row = await self.database.fetch_encoded_as(
            reader or ANONYMOUS,
            f"""
select coalesce(json_agg({item} order by listed.position), '[]')::text, ({drafts})::integer
from {listed} join public.recipes r on r.id = listed.id {joins}""",  # noqa: S608
            **params,
        )
        recipes, counted = cast("list[bytes]", row)
        return RecipeList(recipes, int(counted))

    async def count_published(self, query: RecipeQuery) -> int:
        """The number of published recipes in the whole list."""
        return await self.database.fetch_value_as(
            SERVICE,
            f"select count(*) from public.recipes r where r.is_published{_conditions(query)}",  # noqa: S608
            **_parameters(None, query),
        )

    async def find_json(self, reader: Identity | None, recipe_id: UUID) -> RecipeJson | None:
        """The recipe, if `reader` (None: a guest) may see it."""
        item, joins = recipe_json(signed_in=reader is not None)
        return await self.database.fetch_optional_as(
            reader or ANONYMOUS,
            RecipeJson,
            f"select {item}::text as json, r.is_published from public.recipes r {joins}"  # noqa: S608
            " where r.id = %(recipe_id)s",
            recipe_id=recipe_id,
            reader=reader and reader.user_id,
        )

    async def list_json(self, reader: Identity, recipe_ids: Sequence[UUID]) -> list[RecipeJson]:
        """Those of the recipes that `reader` may see, in the order of the ids."""
        item, joins = recipe_json(signed_in=True)
        return await self.database.fetch_all_as(
            reader,
            RecipeJson,
            f"select {item}::text as json, r.is_published"  # noqa: S608
            " from unnest(%(ids)s::uuid[]) with ordinality as listed (id, position)"
            f" join public.recipes r on r.id = listed.id {joins} order by listed.position",
            ids=list(recipe_ids),
            reader=reader.user_id,
        )

    async def find(self, reader: Identity | None, recipe_id: UUID) -> Recipe | None:
        """The recipe, if `reader` (None: a guest) may see it."""
        return await self.database.fetch_optional_as(
            reader or ANONYMOUS, Recipe, FIND, recipe_id=recipe_id
        )

    async def count_view(self, recipe_id: UUID) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(COUNT_VIEW, recipe_id=recipe_id)

    async def add(self, author: Identity, content: RecipeContent) -> RecipeJson:
        """Raises DuplicateEntry when the author has a recipe of that title, ignoring case."""
        return await self._write(author, INSERT, author=author.user_id, **_values(content))

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

    async def change(self, writer: Identity, recipe_id: UUID, content: RecipeContent) -> RecipeJson:
        """Update a row and return it. Raises NotFound when `writer` has no such recipe."""
        return await self._write(writer, UPDATE, recipe_id=recipe_id, **_values(content))

    async def delete(self, writer: Identity, recipe_id: UUID) -> bool:
        """Delete the recipe. Returns False when `writer` has no such recipe."""
        async with self.database.transaction_as(writer) as tx:
            return await tx.execute(DELETE, recipe_id=recipe_id) > 0

    async def _write(self, writer: Identity, statement: LiteralString, **params: Any) -> RecipeJson:
        """Run a statement that writes one recipe, and return the row in the same round trip."""
        item, joins = recipe_json(signed_in=True)
        async with self.database.transaction_as(writer) as tx:
            return await tx.fetch_one(
                RecipeJson,
                f"with r as ({statement})"  # noqa: S608
                f" select {item}::text as json, r.is_published from r {joins}",
                reader=writer.user_id,
                **params,
            )


def _listed(reader: Identity | None, query: RecipeQuery) -> tuple[LiteralString, LiteralString]:
    """The statement that lists `id` and `position` of a slice, and the one that counts the reader's
    drafts in the whole list.

    Published recipes and drafts are sorted apart, each by an index, and merged.
    """
    order = BEST_MATCH if query.search else TRENDING if query.trending else NEWEST
    rank: LiteralString = f"ts_rank(r.search_tsv, {SEARCH_QUERY})" if query.search else "0"
    source: LiteralString = "from public.recipes r where"
    drafts: LiteralString = "not r.is_published and r.created_by = %(reader)s"
    conditions = _conditions(query)

    def first_of(visible: LiteralString) -> LiteralString:
        return f"""(
    select r.id, r.created_at, r.trending_score, {rank} as rank {source} {visible}{conditions}
    order by {order} limit %(limit)s + %(offset)s
  )"""

    merged = first_of("r.is_published")
    if reader is not None:
        merged += " union all " + first_of(drafts)
    listed: LiteralString = f"""
  select id, row_number() over (order by {order}) as position
  from ({merged}) as merged
  order by {order} limit %(limit)s offset %(offset)s"""  # noqa: S608 - constants
    counted: LiteralString = f"select count(*) {source} {drafts}{conditions}"
    return listed, "0" if reader is None else counted


def _conditions(query: RecipeQuery) -> LiteralString:
    """The conditions of a query, composed of constants; each begins with AND."""
    conditions: LiteralString = ""
    if query.author is not None:
        conditions += " and r.created_by = %(author)s"
    if query.search:
        conditions += f" and r.search_tsv @@ {SEARCH_QUERY}"
    if query.tags:
        conditions += " and r.tags && %(tags)s::text[]"
    if query.difficulty is not None:
        conditions += " and r.difficulty = %(difficulty)s"
    return conditions


def _parameters(reader: Identity | None, query: RecipeQuery) -> dict[str, Any]:
    return {
        **asdict(query),
        "tags": list(query.tags),
        "reader": None if reader is None else reader.user_id,
    }


def _values(content: RecipeContent) -> dict[str, Any]:
    values = asdict(content, recurse=False)
    for column in ("ingredients", "steps", "nutrition"):
        values[column] = None if values[column] is None else Jsonb(values[column])
    return values
