"""Cache of JSON values: in memory, or in Redis for all instances (docs/caching.md).

body = await cache.get_or("recipes:item", str(recipe_id), HOUR, lambda: load(recipe_id))
await cache.drop("recipes:item", str(recipe_id))
"""

from cookcam.cache.cache import DAY, HOUR, LONG, MEDIUM, SHORT, WEEK, Cache, Json

__all__ = ["DAY", "HOUR", "LONG", "MEDIUM", "SHORT", "WEEK", "Cache", "Json"]
