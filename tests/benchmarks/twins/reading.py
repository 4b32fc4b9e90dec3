"""What both Python twins do: check a token, read in the caller's name, and shape the response.

Settings, from the environment: `TWIN_DATABASE` (a connection string), `TWIN_JWKS` (the signing keys
as JSON), `PORT`. Imports nothing of the product.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, LiteralString, cast

import jwt
import orjson
from psycopg import ClientCursor
from psycopg.rows import dict_row

FOLDER = Path(__file__).parent
PROFILE = cast("LiteralString", (FOLDER / "profile.sql").read_text())
RECIPES = cast("LiteralString", (FOLDER / "recipes.sql").read_text())
DATABASE = os.environ["TWIN_DATABASE"]
PORT = int(os.environ["PORT"])
KEYS = {key["kid"]: jwt.PyJWK(key) for key in json.loads(os.environ["TWIN_JWKS"])["keys"]}
POOL_SIZE = 10
# One message and one round trip, as the product sends it.
ACTOR = """\
select set_config('role', %(role)s, true), set_config('request.jwt.claims', %(claims)s, true),
  set_config('statement_timeout', '30000', true), set_config('transaction_read_only', 'on', true);
"""


class Unauthorized(Exception):
    """The token is missing or invalid: 401."""


def verified(authorization: str | None) -> dict[str, Any]:
    """The claims of a bearer token. Raises Unauthorized."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized
    try:
        key = KEYS[jwt.get_unverified_header(token)["kid"]]
        return jwt.decode(token, key, algorithms=["ES256"], audience="authenticated")
    except (jwt.PyJWTError, KeyError) as error:
        raise Unauthorized from error


def actor(claims: dict[str, Any], role: str) -> dict[str, str]:
    """The parameters of ACTOR."""
    return {"role": role, "claims": json.dumps({**claims, "role": role})}


async def read_asyncio(pool: Any, claims: dict[str, Any], role: str, statement: str) -> list[Any]:
    """The rows of a statement that runs in the caller's name."""
    from psycopg import AsyncClientCursor

    async with pool.connection() as connection:
        cursor = AsyncClientCursor(connection, row_factory=dict_row)
        await cursor.execute(ACTOR + statement, actor(claims, role))
        cursor.nextset()
        return await cursor.fetchall()


def read_in_thread(pool: Any, claims: dict[str, Any], role: str, statement: str) -> list[Any]:
    """`read_asyncio` for a thread; psycopg has no driver for Trio."""
    with pool.connection() as connection:
        cursor = ClientCursor(connection, row_factory=dict_row)
        cursor.execute(ACTOR + statement, actor(claims, role))
        cursor.nextset()
        return cursor.fetchall()


def recipe(row: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """A recipe in both spellings that clients read."""
    metadata, prep_time, cook_time = row["ai_metadata"], row["prep_time"], row["cook_time"]
    times = [minutes for minutes in (prep_time, cook_time) if minutes is not None]
    author = row["created_by"]
    shaped = {
        "id": row["id"],
        "title": row["title"],
        "description": row["description"],
        "cuisine": row["cuisine"],
        "cuisine_type": row["cuisine"],
        "image_url": row["image_url"],
        "prep_time": prep_time,
        "prep_time_minutes": prep_time,
        "cook_time": cook_time,
        "cook_time_minutes": cook_time,
        "total_time_minutes": sum(times) if times else None,
        "difficulty": row["difficulty"],
        "servings": row["servings"],
        "ingredients": row["ingredients"],
        "instructions": (metadata or {}).get("steps") or row["instructions"],
        "tags": row["tags"],
        "nutrition": row["nutrition"],
        "nutrition_info": row["nutrition"],
        "created_by": author,
        "creator": author
        and {
            "id": author,
            "name": row["creator_name"],
            "avatar_url": row["creator_avatar_url"],
            "level": row["creator_level"],
        },
        "creator_name": row["creator_name"],
        "is_generated": row["is_generated"],
        "is_published": row["is_published"],
        "is_featured": row["is_featured"],
        "is_trending": row["trending_score"] > 50,
        "view_count": row["view_count"],
        "saves_count": row["saves_count"],
        "rating_avg": row["rating_avg"],
        "rating_count": row["rating_count"],
        "trending_score": row["trending_score"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "recipe_ingredients": row["recipe_ingredients"],
        "is_favorited": row["is_favorited"],
    }
    if str(author) == claims["sub"]:
        shaped["ai_metadata"] = metadata
    return shaped


def recipe_list(rows: list[dict[str, Any]], claims: dict[str, Any]) -> dict[str, Any]:
    """The list under `data` and at the root, as the product sends it."""
    recipes = [recipe(row, claims) for row in rows]
    total = rows[0]["total"] if rows else 0
    pagination = {"page": 1, "limit": 20, "total": total, "totalPages": -(-total // 20)}
    return {
        "success": True,
        "data": {"recipes": recipes, "pagination": pagination},
        "recipes": recipes,
        "pagination": pagination,
    }


to_json = orjson.dumps
