"""Responses that PostgreSQL builds have the types that their routes declare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from cookcam.features.accounts.models import Profile
from cookcam.features.accounts.responses import MeResponse
from cookcam.features.food.ingredients.models import IngredientRow
from cookcam.features.food.ingredients.responses import (
    IngredientListResponse,
    IngredientResponse,
    IngredientSearchResponse,
    TitledIngredientRow,
)
from cookcam.features.recipes.catalogue.responses import (
    RecipeListResponse,
    RecipeResponse,
    RecipeRow,
)
from cookcam.features.recipes.ratings.routes import ReviewListResponse
from cookcam.features.recipes.saving.routes import SavedRecipesResponse
from cookcam.features.rewards.achievements.routes import AchievementsResponse
from cookcam.features.rewards.leaderboards.responses import LeaderboardResponse
from cookcam.features.rewards.streaks.responses import StreakHistoryResponse
from cookcam.features.rewards.xp.responses import ProgressResponse
from cookcam.features.social.users.responses import (
    FollowersResponse,
    FollowingResponse,
    PublicUserResponse,
    UserListResponse,
)
from tests.features.conftest import Client
from tests.support.social import open_api_server

STEPS = [{"instruction": "Chop.", "time": 5}, "Cook."]


async def test_json_built_by_postgresql_has_the_declared_types(
    fresh_database_url: str, tmp_path: Path
) -> None:
    async with open_api_server(fresh_database_url, tmp_path) as api:
        guest, ann, bob = api.guest, await api.person("Ann"), await api.person("Bob")
        recipe = await api.recipe(
            ann,
            title="Soup",
            description='With "quotes" and é',
            prep_time=5,
            ingredients=["salt", {"name": "leek", "amount": 2}],
            instructions=STEPS,
            nutrition={"calories": 12.5},
            tags=["quick"],
        )
        bare = await api.recipe(ann, title="Bare", is_published=False)
        food = await api.value(
            "insert into ingredients (name, category, fdc_id, calories_per_100g, tags,"
            " usda_sync_date) values ('Leek', 'Vegetables', 12, 61.5, '{green}', now())"
            " returning id"
        )
        await api.sql(
            "insert into recipe_ingredients (recipe_id, ingredient_id, quantity, order_index)"
            " values (%(recipe)s, %(food)s, 1.5, 2), (%(recipe)s, null, null, 1)",
            recipe=recipe,
            food=food,
        )
        await api.sql("update recipes set trending_score = 60.25 where id = %(id)s", id=recipe)
        for method, path, body in (
            ("POST", f"/recipes/{recipe}/favorite", None),
            ("POST", f"/recipes/{recipe}/rate", {"rating": 4, "review": "Good."}),
            ("POST", f"/users/{ann.id}/follow", None),
        ):
            assert (await bob.request(method, path, json=body)).status_code == 200

        async def read(reader: Client, path: str, model: Any) -> Any:
            response = await reader.get(path)
            assert response.status_code == 200, (path, response.text)
            decoded = msgspec.json.decode(response.content, type=model)
            # No field is missing where the type allows that, and none is added.
            assert msgspec.to_builtins(decoded, enc_hook=str).keys() == response.json().keys(), path
            return decoded

        for reader in (guest, ann, bob):
            listed = await read(reader, f"/recipes?user_id={ann.id}", RecipeListResponse)
            assert listed.recipes == listed.data.recipes
            assert listed.pagination.total == len(listed.recipes) == (2 if reader is ann else 1)
            assert await read(reader, "/recipes?search=sou", RecipeListResponse)
            row = (await read(reader, f"/recipes/{recipe}", RecipeResponse)).data
            assert row.instructions == STEPS
            assert (row.prep_time, row.cook_time, row.total_time_minutes) == (5, None, 5)
            assert (row.is_trending, row.trending_score, row.rating_avg) == (True, 60.25, 4)
            assert row.creator_name == row.creator.name == "Ann"
            linked = [
                item["ingredient"] and item["ingredient"]["name"] for item in row.recipe_ingredients
            ]
            assert linked == [None, "Leek"]
            assert row.is_favorited is (UNSET if reader is guest else reader is bob)
            assert (row.ai_metadata is UNSET) is (reader is not ann)
        # The same row as that of a write, which converts a row of the table.
        written = (await ann.put(f"/recipes/{bare}", {"tags": ["a"]})).json()["data"]
        assert (await ann.get(f"/recipes/{bare}")).json()["data"] == written
        msgspec.convert(written, RecipeRow)

        saved = await read(bob, "/recipes/saved/my", SavedRecipesResponse)
        assert (saved.total, saved.saved_recipes[0].recipe.id) == (1, row.id)
        assert (
            len((await read(guest, f"/recipes/{recipe}/reviews", ReviewListResponse)).reviews) == 1
        )

        me = await read(ann, "/auth/me", MeResponse)
        assert me.user == await read(ann, "/users/profile", Profile)
        assert me.user.email == ann.user.email
        assert (await read(ann, f"/users/{ann.id}", PublicUserResponse)).user.created_at
        assert len((await read(guest, "/users?search=an", UserListResponse)).users) == 1
        assert (await read(guest, "/users", UserListResponse)).users
        followers = await read(guest, f"/users/{ann.id}/followers", FollowersResponse)
        assert [item.follower.name for item in followers.followers] == ["Bob"]
        following = await read(guest, f"/users/{bob.id}/following", FollowingResponse)
        assert [item.following.name for item in following.following] == ["Ann"]

        found = await read(guest, "/ingredients/search?q=leek&limit=5", IngredientSearchResponse)
        assert (found.data.total, found.data.results[0].tags) == (1, ["green"])
        ingredient = await read(guest, f"/ingredients/{food}", IngredientResponse)
        assert ingredient.data == found.data.results[0]
        assert (await read(guest, "/ingredients", IngredientListResponse)).data.pagination
        for_app = await guest.request(
            "GET",
            "/ingredients/search?q=leek&limit=9",
            headers={"Content-Type": "application/json"},
        )
        (titled,) = msgspec.json.decode(for_app.content, type=list[TitledIngredientRow])
        assert (titled.title, titled.calories_per_100g) == ("Leek", 61.5)
        assert isinstance(titled, IngredientRow)

        board = await read(bob, "/gamification/leaderboard", LeaderboardResponse)
        assert board.leaderboard[board.user_rank - 1].users.name == "Bob"
        assert await read(bob, "/gamification/progress", ProgressResponse)
        assert await read(bob, "/gamification/streak", StreakHistoryResponse)
        assert (await read(bob, "/gamification/achievements", AchievementsResponse)).total
