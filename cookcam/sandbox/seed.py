"""The demo: accounts with published passwords, a small food catalogue, a dozen recipes.

Accounts that are missing are created at each start. The catalogue and the recipes are inserted
once: what is deleted stays deleted.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson
import psycopg
import trio
from attrs import frozen
from psycopg.types.json import Jsonb

from cookcam.sandbox.gotrue import Gotrue
from cookcam.sandbox.gotrue.faults import AuthFault
from cookcam.sandbox.usda import foods

_SEEDED = """
create table if not exists sandbox.seeded (
    what text primary key,
    at timestamptz not null default now()
)
"""

_INGREDIENT = """
insert into public.ingredients (name, category, fdc_id, calories_per_100g, protein_g_per_100g,
                                carbs_g_per_100g, fat_g_per_100g, fiber_g_per_100g,
                                sodium_mg_per_100g, usda_data_type)
values (%(name)s, %(category)s, %(fdc_id)s, %(calories_per_100g)s, %(protein_g_per_100g)s,
        %(carbs_g_per_100g)s, %(fat_g_per_100g)s, %(fiber_g_per_100g)s, %(sodium_mg_per_100g)s,
        'demo')
on conflict do nothing
"""

# The foods the fake of USDA knows, as `cookcam usda import` would write them.
_FOOD = """
insert into public.ingredients (
  name, category, fdc_id, usda_data_type, searchable_text, usda_sync_date,
  calories_per_100g, protein_g_per_100g, fat_g_per_100g, carbs_g_per_100g, fiber_g_per_100g,
  sugar_g_per_100g, sodium_mg_per_100g, calcium_mg_per_100g, iron_mg_per_100g,
  vitamin_c_mg_per_100g, potassium_mg_per_100g
)
values (
  %(name)s, %(category)s, %(fdc_id)s, %(data_type)s,
  lower(concat_ws(' ', %(name)s::text, %(category)s::text)), now(),
  %(1008)s, %(1003)s, %(1004)s, %(1005)s, %(1079)s, %(2000)s, %(1093)s, %(1087)s, %(1089)s,
  %(1162)s, %(1092)s
)
on conflict (fdc_id) do update set
  fiber_g_per_100g = coalesce(ingredients.fiber_g_per_100g, excluded.fiber_g_per_100g),
  sugar_g_per_100g = coalesce(ingredients.sugar_g_per_100g, excluded.sugar_g_per_100g),
  sodium_mg_per_100g = coalesce(ingredients.sodium_mg_per_100g, excluded.sodium_mg_per_100g)
"""

# The newest first in lists is the first of the file: each is a little older than the one before.
_RECIPE = """
insert into public.recipes (title, description, cuisine, prep_time, cook_time, difficulty, servings,
                            ingredients, instructions, tags, is_published, created_by, created_at)
select %(title)s, %(description)s, %(cuisine)s, %(prep_time)s, %(cook_time)s, %(difficulty)s,
       %(servings)s, %(ingredients)s, %(instructions)s, %(tags)s, %(is_published)s, id,
       now() - make_interval(hours => %(age)s)
  from public.users where email = %(author)s
on conflict do nothing
returning id
"""

_RECIPE_INGREDIENT = """
insert into public.recipe_ingredients (recipe_id, ingredient_id, quantity, unit, order_index)
select %s, (select min(id) from public.ingredients where name = %s), %s::numeric, %s, %s
"""


@frozen
class DemoUser:
    """A user of the demo data, with the password."""

    email: str
    password: str
    name: str
    role: str | None


async def seed(gotrue: Gotrue, owner_url: str) -> list[DemoUser]:
    """Insert what is missing and return the demo users. `owner_url` owns the schema."""
    demo: dict[str, Any] = orjson.loads(files("cookcam.sandbox").joinpath("demo.json").read_bytes())
    users = [
        DemoUser(user["email"], user["password"], user["name"], user.get("role"))
        for user in demo["users"]
    ]
    for user in users:
        try:
            await gotrue.create_user(user.email, user.password, user.name, user.role)
        except AuthFault as fault:
            if fault.code != "email_exists":
                raise
    await trio.to_thread.run_sync(_put_in_once, owner_url, demo)
    return users


def _put_in_once(owner_url: str, demo: dict[str, Any]) -> None:
    with psycopg.connect(owner_url) as connection:
        connection.execute(_SEEDED)
        if _is_first_time(connection, "recipes"):
            for ingredient in demo["ingredients"]:
                connection.execute(_INGREDIENT, ingredient)
            for age, recipe in enumerate(demo["recipes"]):
                _add_recipe(connection, recipe, age)
        if _is_first_time(connection, "foods"):
            _add_foods(connection)


def _is_first_time(connection: psycopg.Connection[Any], what: str) -> bool:
    done = connection.execute(
        "insert into sandbox.seeded (what) values (%s) on conflict do nothing", (what,)
    )
    return done.rowcount > 0


def _add_foods(connection: psycopg.Connection[Any]) -> None:
    rows = [
        {
            "name": food.description,
            "category": food.category,
            "fdc_id": food.fdc_id,
            "data_type": food.data_type,
            **{str(nutrient): amount for nutrient, amount in food.amounts.items()},
        }
        for food in foods()
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_FOOD, rows)


def _add_recipe(connection: psycopg.Connection[Any], recipe: dict[str, Any], age: int) -> None:
    values = {**recipe, "ingredients": Jsonb(recipe["ingredients"]), "age": age}
    added = connection.execute(_RECIPE, values).fetchone()
    if added is None:
        return
    for order, part in enumerate(recipe["ingredients"]):
        connection.execute(
            _RECIPE_INGREDIENT, (added[0], part["name"], part["amount"], part["unit"], order)
        )
