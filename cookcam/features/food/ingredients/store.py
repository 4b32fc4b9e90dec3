"""The SQL of the ingredient catalogue, which is public: read and written as SERVICE.

A search is one statement. The full-text index selects rows that contain every word of the query, or
words that begin with them. If these are too few, each word may also match similar or longer words
of the catalogue (`ingredient_words`). The selected rows, at most some hundred, are ordered by the
similarity of their whole name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import LiteralString

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.features.food.ingredients.models import Candidate, IngredientRow, Phrase
from cookcam.features.food.ingredients.nutrients import COLUMNS as NUTRIENT_COLUMNS
from cookcam.features.pages import time_text

MAX_WORDS = 12
"""Words of a search text that are used; the rest is ignored."""

_WORD = re.compile(r"\d+\.\d+|[^\W_]+")

FIELDS: LiteralString = """
  i.id, i.name, i.fdc_id, i.category, i.calories_per_100g, i.protein_g_per_100g,
  i.carbs_g_per_100g, i.fat_g_per_100g, i.fiber_g_per_100g, i.sodium_mg_per_100g,
  i.sugar_g_per_100g, i.calcium_mg_per_100g, i.iron_mg_per_100g, i.vitamin_c_mg_per_100g,
  i.potassium_mg_per_100g, i.vitamin_d_mcg_per_100g, i.vitamin_a_mcg_per_100g,
  i.saturated_fat_g_per_100g, i.trans_fat_g_per_100g, i.cholesterol_mg_per_100g,
  i.searchable_text, i.tags, i.dietary_flags, i.usda_data_type"""

COLUMNS = f"{FIELDS}, i.usda_sync_date, i.created_at, i.updated_at"

# The same columns, with times as the API writes them.
ROW = f"""{FIELDS},
  {time_text("i.usda_sync_date")} as usda_sync_date,
  {time_text("i.created_at")} as created_at,
  {time_text("i.updated_at")} as updated_at"""

FIND = f"select {COLUMNS} from public.ingredients i where i.id = %(ingredient_id)s"  # noqa: S608

FIND_AS_JSON = f"""
select row_to_json(ingredient)::text
from (
  select {ROW} from public.ingredients i where i.id = %(ingredient_id)s
) as ingredient"""  # noqa: S608 - constants

PAGE = f"""
select coalesce(json_agg(ingredient), '[]')::text as ingredients, count(*)::integer as shown
from (
  select {ROW} from public.ingredients i
  where %(category)s::text is null or i.category = %(category)s
  order by i.name, i.id limit %(limit)s offset %(offset)s
) as ingredient"""  # noqa: S608 - constants

COUNT = """
select count(*) from public.ingredients
where %(category)s::text is null or category = %(category)s"""

# Jumps in the index from one category to the next: few categories, hundreds of thousands of rows.
CATEGORIES = """
with recursive found as (
  (select min(category) as category from public.ingredients)
  union all
  select (select min(category) from public.ingredients where category > found.category)
  from found where found.category is not null
)
select category from found where category is not null order by category limit 1000"""

MAX_CANDIDATES: LiteralString = "200"
"""Rows per kind of match that are ranked by the similarity of the whole name."""

# A lexeme as a word of a tsquery.
QUOTED: LiteralString = r"""'''' || replace(replace(w.word, '\', '\\'), '''', '''''') || ''''"""

# Words of the catalogue that are similar to `sought`. Two words with a similarity of at least 0.4
# share at least k = 0.4 n of the n trigrams of each, so any n - k + 1 of the trigrams contain a
# shared one. The index is queried for these probes only; the most common trigrams are left out.
RESEMBLING: LiteralString = """
    select v.word, s.shared::real / (cardinality(v.trigrams) + sought.size - s.shared) as similarity
    from public.ingredient_words v
    cross join lateral (
      select count(*) as shared from unnest(v.trigrams) as t where t = any (sought.trigrams)
    ) as s
    where v.trigrams && sought.probes and cardinality(v.trigrams) <= sought.size * 3"""
SOUGHT: LiteralString = """
    select w.number, w.word, public.trigrams(w.word) as trigrams,
      cardinality(public.trigrams(w.word)) as size,
      array(
        select t from unnest(public.trigrams(w.word)) as t
        order by t like '  _' desc, t like '__ ' desc, t like ' __' desc
        offset greatest(ceil(cardinality(public.trigrams(w.word)) * 0.4) - 1, 0)
      ) as probes"""


def _search(body: LiteralString, title: LiteralString = "") -> LiteralString:
    return rf"""
with requested as materialized (
  {SOUGHT}
  from unnest(%(words)s::text[]) with ordinality as w (word, number)
),
strict as materialized (
  select i.id from public.ingredients i
  where i.search_tsv @@ %(query)s::tsquery
  order by char_length(i.name), i.id limit {MAX_CANDIDATES}
),
beginning as materialized (
  select i.id from public.ingredients i
  where lower(i.name) like %(beginning)s
  order by lower(i.name) using operator(pg_catalog.~<~) limit 50
),
alternatives as (
  select sought.number, string_agg({QUOTED}, ' | ') as words
  from requested sought
  cross join lateral (
    select r.word from ({RESEMBLING}) as r
    where r.similarity >= 0.4
      or (length(sought.word) > 2 and position(sought.word in r.word) > 0)
    order by r.similarity desc, r.word limit 12
  ) as w
  group by sought.number
),
resembling as materialized (
  select string_agg('(' || words || ')', ' & ')::tsquery as query
  from alternatives having count(*) = (select count(*) from requested)
),
loose as (
  select i.id from resembling r join public.ingredients i on i.search_tsv @@ r.query
  where (select count(*) from strict) < %(limit)s
  order by char_length(i.name), i.id limit {MAX_CANDIDATES}
)
select {body}::text
from (
  select {ROW}{title}
  from (
    select id from strict union select id from beginning union select id from loose
  ) as found
  join public.ingredients i on i.id = found.id
  order by
    public.trigram_similarity(public.trigrams(i.name), public.trigrams(%(text)s)) desc,
    char_length(i.name), i.name, i.id
  limit %(limit)s
) as ingredient"""  # noqa: S608 - constants


SEARCH = _search("""json_build_object(
  'success', true,
  'data', json_build_object(
    'source', 'local', 'results', coalesce(json_agg(ingredient), '[]'), 'total', count(*)
  )
)""")

# The app reads a bare array of rows with a title.
SEARCH_FOR_APP = _search("coalesce(json_agg(ingredient), '[]')", ", i.name as title")

# Branded foods are candidates only for phrases without a generic food.
GENERIC: LiteralString = "i.usda_data_type is distinct from 'Branded'"
MACROS: LiteralString = """
  i.calories_per_100g is not null and i.protein_g_per_100g is not null
  and i.carbs_g_per_100g is not null and i.fat_g_per_100g is not null
  and i.sodium_mg_per_100g is not null"""
MATCHING: LiteralString = f"""
  select i.id, i.name, i.usda_data_type, i.calories_per_100g as calories,
    i.protein_g_per_100g as protein, i.carbs_g_per_100g as carbs, i.fat_g_per_100g as fat,
    i.fiber_g_per_100g as fiber, i.sodium_mg_per_100g as sodium
  from public.ingredients i
  where i.search_tsv @@ p.query and {MACROS}"""  # noqa: S608 - constants
BY_NAME_LENGTH: LiteralString = "order by char_length(i.name), i.id limit 15"

CANDIDATES = rf"""
with requested as materialized (
  select * from unnest(%(phrases)s::int[], %(words)s::int[]) as a (phrase, number)
),
forms as materialized (
  select * from unnest(%(numbers)s::int[], %(forms)s::text[]) as f (number, word)
),
existing as materialized (
  select f.number, w.word from forms f join public.ingredient_words w on w.word = f.word
),
corrected as materialized (
  select sought.number, w.word
  from (
    {SOUGHT}
    from (
      select distinct on (number) number, word from forms
      where number not in (select number from existing) and length(word) > 3
      order by number, length(word)
    ) as w
  ) as sought
  cross join lateral (
    select r.word from ({RESEMBLING}) as r
    where r.similarity >= 0.45 order by r.similarity desc, r.word limit 3
  ) as w
),
words as materialized (
  select w.number, string_agg({QUOTED}, ' | ') as query
  from (select * from existing union select * from corrected) as w
  group by w.number
),
phrases as materialized (
  select a.phrase, string_agg('(' || w.query || ')', ' & ')::tsquery as query
  from requested a left join words w on w.number = a.number
  group by a.phrase having bool_and(w.query is not null)
),
generic as materialized (
  select p.phrase, f.* from phrases p
  cross join lateral ({MATCHING} and {GENERIC} {BY_NAME_LENGTH}) as f
),
branded as (
  select p.phrase, f.* from phrases p
  cross join lateral ({MATCHING} and not ({GENERIC}) {BY_NAME_LENGTH}) as f
  where p.phrase not in (select phrase from generic)
)
select * from generic union all select * from branded"""  # noqa: S608 - constants

TAKEN = """
select fdc_id from public.ingredients
where fdc_id = any(%(fdc_ids)s::int[]) and id <> %(ingredient_id)s"""

SET_NUTRITION: LiteralString = """
  calories_per_100g = coalesce(%(calories_per_100g)s, calories_per_100g),
  protein_g_per_100g = coalesce(%(protein_g_per_100g)s, protein_g_per_100g),
  carbs_g_per_100g = coalesce(%(carbs_g_per_100g)s, carbs_g_per_100g),
  fat_g_per_100g = coalesce(%(fat_g_per_100g)s, fat_g_per_100g),
  fiber_g_per_100g = coalesce(%(fiber_g_per_100g)s, fiber_g_per_100g),
  sugar_g_per_100g = coalesce(%(sugar_g_per_100g)s, sugar_g_per_100g),
  sodium_mg_per_100g = coalesce(%(sodium_mg_per_100g)s, sodium_mg_per_100g),
  calcium_mg_per_100g = coalesce(%(calcium_mg_per_100g)s, calcium_mg_per_100g),
  iron_mg_per_100g = coalesce(%(iron_mg_per_100g)s, iron_mg_per_100g),
  vitamin_c_mg_per_100g = coalesce(%(vitamin_c_mg_per_100g)s, vitamin_c_mg_per_100g),
  potassium_mg_per_100g = coalesce(%(potassium_mg_per_100g)s, potassium_mg_per_100g),
  vitamin_d_mcg_per_100g = coalesce(%(vitamin_d_mcg_per_100g)s, vitamin_d_mcg_per_100g),
  vitamin_a_mcg_per_100g = coalesce(%(vitamin_a_mcg_per_100g)s, vitamin_a_mcg_per_100g),
  saturated_fat_g_per_100g = coalesce(%(saturated_fat_g_per_100g)s, saturated_fat_g_per_100g),
  trans_fat_g_per_100g = coalesce(%(trans_fat_g_per_100g)s, trans_fat_g_per_100g),
  cholesterol_mg_per_100g = coalesce(%(cholesterol_mg_per_100g)s, cholesterol_mg_per_100g)"""
LINK = f"""
update public.ingredients i set
  fdc_id = %(fdc_id)s, usda_data_type = %(data_type)s, usda_sync_date = now(), {SET_NUTRITION}
where i.id = %(ingredient_id)s
returning {COLUMNS}"""  # noqa: S608 - constants


@frozen
class _Page:
    ingredients: str
    shown: int


@frozen
class _Category:
    category: str


@frozen
class _Taken:
    fdc_id: int


@frozen
class IngredientStore:
    database: Database

    async def search_json(self, text: str, limit: int, *, for_app: bool) -> bytes:
        """The response for the rows whose name or searchable text matches the words of `text`, most
        similar first."""
        words = _search_words(text)
        return await self.database.fetch_json_as(
            SERVICE,
            SEARCH_FOR_APP if for_app else SEARCH,
            words=words,
            query=_prefix_query(words),
            beginning=_escaped(text.strip().lower()) + "%",
            text=text,
            limit=limit if words else 0,
        )

    async def page(self, category: str | None, *, limit: int, offset: int) -> tuple[str, int]:
        """A slice of the catalogue ordered by name, as a JSON array, and the total number of
        rows."""
        page = await self.database.fetch_one_as(
            SERVICE, _Page, PAGE, category=category, limit=limit, offset=offset
        )
        if 0 < page.shown < limit:
            return page.ingredients, offset + page.shown
        total = await self.database.fetch_value_as(SERVICE, COUNT, category=category)
        return page.ingredients, total

    async def find_json(self, ingredient_id: int) -> bytes | None:
        return await self.database.fetch_optional_json_as(
            SERVICE, FIND_AS_JSON, ingredient_id=ingredient_id
        )

    async def find(self, ingredient_id: int) -> IngredientRow | None:
        return await self.database.fetch_optional_as(
            SERVICE, IngredientRow, FIND, ingredient_id=ingredient_id
        )

    async def categories(self) -> list[str]:
        rows = await self.database.fetch_all_as(SERVICE, _Category, CATEGORIES)
        return [row.category for row in rows]

    async def taken(self, ingredient_id: int, fdc_ids: Sequence[int]) -> set[int]:
        """The subset of `fdc_ids` that is linked to another ingredient."""
        rows = await self.database.fetch_all_as(
            SERVICE, _Taken, TAKEN, fdc_ids=list(fdc_ids), ingredient_id=ingredient_id
        )
        return {row.fdc_id for row in rows}

    async def candidates(self, phrases: Sequence[Phrase]) -> list[Candidate]:
        """Up to 15 rows per phrase that contain all its words, in one statement.

        Words that the catalogue does not contain are replaced by similar ones.
        """
        numbers: dict[tuple[str, ...], int] = {}
        numbered = [
            (number, numbers.setdefault(forms, len(numbers)))
            for number, phrase in enumerate(phrases)
            for forms in phrase.words
        ]
        if not numbered:
            return []
        spelled = [(number, form) for forms, number in numbers.items() for form in forms]
        return await self.database.fetch_all_as(
            SERVICE,
            Candidate,
            CANDIDATES,
            phrases=[phrase for phrase, _ in numbered],
            words=[word for _, word in numbered],
            numbers=[number for number, _ in spelled],
            forms=[form for _, form in spelled],
        )

    async def link(
        self, ingredient_id: int, fdc_id: int, data_type: str, nutrition: Mapping[str, float]
    ) -> IngredientRow:
        """Link an ingredient and copy USDA's amounts; columns unknown to USDA keep their values.

        Raises NotFound when the ingredient has been deleted, DuplicateEntry when another
        ingredient is linked to that food.
        """
        values = {column: nutrition.get(column) for column in NUTRIENT_COLUMNS}
        async with self.database.transaction() as tx:
            return await tx.fetch_one(
                IngredientRow,
                LINK,
                ingredient_id=ingredient_id,
                fdc_id=fdc_id,
                data_type=data_type,
                **values,
            )


def _search_words(text: str) -> list[str]:
    """Split a text like PostgreSQL's `simple` configuration, into at most MAX_WORDS words."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())[:MAX_WORDS]


def _prefix_query(words: Sequence[str]) -> str:
    """A tsquery in which every word is a prefix.

    Single letters match whole words when alone, and are ignored beside other words.
    """
    long = [word for word in words if len(word) > 1]
    if not long or (len(words) == 1 and len(words[0]) == 2):
        return " & ".join(f"'{word}'" for word in words)
    return " & ".join(f"'{word}':*" for word in long)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
