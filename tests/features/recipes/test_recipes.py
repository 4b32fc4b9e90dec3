"""Recipes over HTTP, on the assembled app and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio

from cookcam.app.container import Container
from cookcam.database import SERVICE
from cookcam.errors import InsufficientPermissions, NotFound
from cookcam.features.recipes.catalogue.models import Recipe, RecipeContent
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.catalogue.store import UPDATE, RecipeStore, _values
from cookcam.identity import Identity
from tests.features.conftest import ApiUser, Client, Server, open_server

FULL = {
    "description": "Slow and red",
    "cuisine": "italian",
    "prep_time": 10,
    "cook_time": 50,
    "difficulty": "Intermediate",
    "servings": 4,
    "ingredients": [{"name": "tomato", "amount": "1/2", "unit": "kg"}, "salt < pepper"],
    "instructions": [
        {"step": 1, "instruction": "Chop", "time": 5, "temperature": "20 C"},
        "Simmer",
    ],
    "tags": ["vegan", "slow"],
    "nutrition": {"calories": 210, "protein": 4.5},
    "is_published": True,
}


def word() -> str:
    """A word no other test uses."""
    return "w" + uuid4().hex[:10]


async def publish(author: Client, title: str, **content: Any) -> dict[str, Any]:
    response = await author.post("/recipes", {"title": title, "is_published": True, **content})
    assert response.status_code == 201, response.text
    return response.json()


def identity(person: ApiUser) -> Identity:
    return Identity(UUID(person.id), claims={"sub": person.id, "role": "authenticated"})


OUT_OF_BOUNDS: list[tuple[dict[str, Any], str]] = [
    ({}, "Title must be at least 3 characters"),
    ({"title": None}, "Title must be at least 3 characters"),
    ({"title": "  ab  "}, "Title must be at least 3 characters"),
    ({"title": "x" * 201}, "Title must be at most 200 characters"),
    ({"title": "Soup", "ingredients": "salt"}, "Ingredients must be an array"),
    ({"title": "Soup", "ingredients": {}}, "Ingredients must be an array"),
    ({"title": "Soup", "ingredients": ["x"] * 101}, "Too many ingredients (max 100)"),
    ({"title": "Soup", "ingredients": [7]}, "Each ingredient must be a text or an object"),
    ({"title": "Soup", "ingredients": [""]}, "Each ingredient must be a text or an object"),
    (
        {"title": "Soup", "instructions": [{}]},
        "Each instruction must be a text or have one",
    ),
    ({"title": "Soup", "difficulty": "epic"}, "Difficulty must be easy, medium or hard"),
    ({"title": 5}, "VALIDATION_ERROR"),
    ({"title": "Soup", "prep_time": "10"}, "VALIDATION_ERROR"),
    ({"title": "Soup", "prep_time": -1}, "VALIDATION_ERROR"),
    ({"title": "Soup", "prep_time": 10**12}, "VALIDATION_ERROR"),
    ({"title": "Soup", "servings": 0}, "VALIDATION_ERROR"),
    ({"title": "Soup", "tags": ["x" * 51]}, "VALIDATION_ERROR"),
    ({"title": "Soup", "tags": ["x"] * 51}, "VALIDATION_ERROR"),
    ({"title": "Soup", "nutrition": {"calories": "210"}}, "VALIDATION_ERROR"),
    ({"title": "Soup", "description": "x" * 5001}, "VALIDATION_ERROR"),
    ({"title": "Soup", "is_published": "yes"}, "VALIDATION_ERROR"),
    ({"title": "So\0up"}, "VALIDATION_ERROR"),
]


class TestCreate:
    async def test_only_the_title_is_required(self, ann: ApiUser):
        response = await ann.post("/recipes", {"title": "Duplicate"})
        assert response.status_code == 201
        row = response.json()
        assert row["success"] is True
        assert row["title"] == row["data"]["title"] == "Duplicate"
        assert row["created_by"] == ann.id
        assert row["is_published"] is False
        assert row["ingredients"] == row["instructions"] == row["tags"] == []
        assert row["description"] is row["prep_time"] is row["image_url"] is None
        assert row["rating_avg"] == 0
        assert type(row["rating_avg"]) in (int, float)
        assert row["created_at"].endswith("Z")

    async def test_every_field_is_stored_and_returned_in_both_spellings(self, ann: ApiUser):
        row = await publish(ann, " Sugo <3 ", **FULL)
        assert row["title"] == "Sugo <3"
        assert row["prep_time"] == row["prep_time_minutes"] == 10
        assert row["cook_time"] == row["cook_time_minutes"] == 50
        assert row["total_time_minutes"] == 60
        assert row["cuisine"] == row["cuisine_type"] == "italian"
        assert row["nutrition"] == row["nutrition_info"] == {"calories": 210, "protein": 4.5}
        assert row["difficulty"] == "medium"
        assert row["ingredients"] == FULL["ingredients"]
        assert row["instructions"] == FULL["instructions"]
        assert row["tags"] == ["vegan", "slow"]
        assert row["creator"] == {"id": ann.id, "name": "Ann", "avatar_url": None, "level": 1}
        assert row["creator_name"] == "Ann"
        assert row["is_favorited"] is False
        read = await ann.get(f"/recipes/{row['id']}")
        assert read.json() == {"success": True, "data": row["data"]}

    async def test_null_counts_as_absent_and_unknown_fields_are_ignored(self, ann: ApiUser):
        response = await ann.post(
            "/recipes",
            {
                "title": "Plain",
                **dict.fromkeys(FULL),
                "mealType": "dinner",
                "created_by": str(uuid4()),
                "is_featured": True,
                "view_count": 999,
                "is_generated": True,
            },
        )
        assert response.status_code == 201
        row = response.json()
        assert row["created_by"] == ann.id
        assert (row["is_featured"], row["view_count"], row["is_generated"]) == (False, 0, False)

    async def test_values_beyond_limits_are_rejected(self, ann: ApiUser):
        for content, literal in OUT_OF_BOUNDS:
            response = await ann.post("/recipes", content)
            body = response.json()
            assert response.status_code == 400, content
            assert body["success"] is False
            assert body["error"] == literal, content
            assert body["code"] == "VALIDATION_ERROR"

    async def test_invisible_text_is_rejected_and_controls_are_removed(self, ann: ApiUser):
        for title in ("\u200b" * 5, "\u202e\u2066\u2069", "\u3164" * 4, "\ufeff \u00ad \u2060"):
            response = await ann.post("/recipes", {"title": title})
            assert response.status_code == 400, ascii(title)
            assert response.json()["error"] == "Title must be at least 3 characters"
        for body in ({"tags": ["\u200b"]}, {"instructions": ["\u200b"]}):
            assert (await ann.post("/recipes", {"title": "Seen", **body})).status_code == 400
        response = await ann.post(
            "/recipes",
            {
                "title": "\u202eTomato\u200b soup",
                "description": "Red\u202e.\nHot.",
                "tags": ["ve\u00adgan"],
                "instructions": ["Stir\u200b"],
                "ingredients": [{"name": "\u2066salt"}],
            },
        )
        row = response.json()["data"]
        assert (row["title"], row["description"]) == ("Tomato soup", "Red.\nHot.")
        assert (row["tags"], row["instructions"]) == (["vegan"], ["Stir"])

    async def test_titles_of_3_and_of_200_characters_are_accepted(self, ann: ApiUser):
        for title in ("Pie", "é" * 200, "🍲" * 200):
            assert (await ann.post("/recipes", {"title": title})).status_code == 201


class TestUniqueTitles:
    async def test_duplicate_title_is_a_conflict(self, ann: ApiUser, bob: ApiUser):
        assert (await ann.post("/recipes", {"title": "Duplicate"})).status_code == 201
        for title in ("Duplicate", "dUPLICATE", " duplicate "):
            response = await ann.post("/recipes", {"title": title})
            body = response.json()
            assert response.status_code == body["statusCode"] == 409
            assert body["error"] == body["code"] == "DUPLICATE_ENTRY"
            assert body["message"] == "Resource already exists"
            assert {"requestId", "timestamp", "path"} <= body.keys()
        assert (await bob.post("/recipes", {"title": "Duplicate"})).status_code == 201

    async def test_titles_are_compared_after_unicode_normalization(self, ann: ApiUser):
        composed, decomposed = "Cr\u00e8me brul\u00e9e", "CRE\u0300ME BRULE\u0301E"
        assert (await ann.post("/recipes", {"title": composed})).status_code == 201
        assert (await ann.post("/recipes", {"title": decomposed})).status_code == 409

    async def test_concurrent_duplicates_create_one_recipe(self, ann: ApiUser):
        statuses: list[int] = []

        async def create() -> None:
            statuses.append((await ann.post("/recipes", {"title": "Race"})).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(create)
        assert sorted(statuses) == [201] + [409] * 11

    async def test_change_to_an_existing_title_is_a_conflict(self, ann: ApiUser):
        await ann.post("/recipes", {"title": "First"})
        second = (await ann.post("/recipes", {"title": "Second"})).json()
        response = await ann.put(f"/recipes/{second['id']}", {"title": "FIRST"})
        assert response.status_code == 409
        assert (await ann.put(f"/recipes/{second['id']}", {"title": "SECOND"})).status_code == 200


class TestRead:
    async def test_draft_is_visible_to_its_author_only(
        self, guest: Client, ann: ApiUser, bob: ApiUser
    ):
        draft = (await ann.post("/recipes", {"title": "Draft"})).json()
        assert (await ann.get(f"/recipes/{draft['id']}")).status_code == 200
        for other in (guest, bob):
            response = await other.get(f"/recipes/{draft['id']}")
            assert response.status_code == 404
            assert response.json()["error"] == "Recipe not found"
            assert response.json()["success"] is False

    async def test_unknown_and_malformed_ids_give_the_same_404(self, ann: ApiUser):
        unknown = [str(uuid4()), "7", "saved", "a" * 36, "x" * 5000]
        for recipe_id, method in product(unknown, ("GET", "PUT", "DELETE")):
            response = await ann.request(method, f"/recipes/{recipe_id}", json={"title": "Soup"})
            assert response.status_code == 404
            assert response.json()["error"] == "Recipe not found"
            assert response.json()["code"] == "NOT_FOUND"

    async def test_ai_metadata_is_visible_to_the_author_only(
        self, guest: Client, ann: ApiUser, bob: ApiUser
    ):
        row = await publish(ann, "Open", instructions=[{"instruction": "Stir", "time": 3}])
        path = f"/recipes/{row['id']}"
        assert (await ann.get(path)).json()["data"]["ai_metadata"] == {
            "steps": [{"instruction": "Stir", "time": 3}]
        }
        for other in (guest, bob):
            seen = (await other.get(path)).json()["data"]
            assert "ai_metadata" not in seen
            assert seen["instructions"] == [{"instruction": "Stir", "time": 3}]

    async def test_guests_get_no_favourite_flag(self, guest: Client, ann: ApiUser):
        row = await publish(ann, "Favourite")
        assert "is_favorited" not in (await guest.get(f"/recipes/{row['id']}")).json()["data"]

    async def test_linked_ingredients_are_included(self, server: Server, ann: ApiUser):
        row = await publish(ann, "Linked")
        ((salt,),) = await server.sql(
            "insert into ingredients (name, category, sodium_mg_per_100g)"
            " values ('salt', 'spice', 38758) returning id"
        )
        await server.sql(
            "insert into recipe_ingredients (recipe_id, ingredient_id, quantity, unit, order_index)"
            " values (%(r)s, null, null, null, 1), (%(r)s, %(salt)s, 1.5, 'g', 0)",
            r=row["id"],
            salt=salt,
        )
        linked = (await server.guest.get(f"/recipes/{row['id']}")).json()["data"]
        first, second = linked["recipe_ingredients"]
        assert first["quantity"] == 1.5
        assert first["ingredient"]["name"] == "salt"
        assert first["ingredient"]["sodium_mg_per_100g"] == 38758
        assert first["ingredient"]["calories_per_100g"] is None
        assert second["ingredient"] is None

    async def test_recipe_of_a_deleted_author_remains(self, server: Server, ann: ApiUser):
        row = await publish(ann, "Orphan")
        await server.sql("delete from auth.users where id = %(id)s", id=ann.id)
        seen = (await server.guest.get(f"/recipes/{row['id']}")).json()["data"]
        assert seen["creator"] is seen["creator_name"] is seen["created_by"] is None

    async def test_invalid_token_counts_as_guest(self, server: Server, ann: ApiUser):
        row = await publish(ann, "Open to all")
        stale = Client(server.http, "not a token")
        assert (await stale.get(f"/recipes/{row['id']}")).status_code == 200
        assert (await stale.get("/recipes?limit=1")).status_code == 200


BAD_QUERIES = [
    ("limit=0", "Invalid limit parameter (1-100)"),
    ("limit=101", "Invalid limit parameter (1-100)"),
    ("limit=abc", "Invalid limit parameter (1-100)"),
    ("offset=-1", "Invalid offset parameter"),
    ("page=0", "Invalid page parameter"),
    ("page=9999999999999999999", "Invalid page parameter"),
    ("user_id=7", "Invalid user_id parameter"),
    ("difficulty=epic", "Difficulty must be easy, medium or hard"),
    ("search=" + "x" * 201, "VALIDATION_ERROR"),
]


class TestList:
    async def test_list_has_published_and_own_recipes(
        self, guest: Client, ann: ApiUser, bob: ApiUser
    ):
        tag = word()
        await publish(ann, "Ann open", tags=[tag])
        await publish(bob, "Bob open", tags=[tag])
        await ann.post("/recipes", {"title": "Ann draft", "tags": [tag]})

        async def titles(reader: Client, query: str = "") -> list[str]:
            response = await reader.get(f"/recipes?tags={tag}{query}")
            return [row["title"] for row in response.json()["recipes"]]

        assert await titles(guest) == ["Bob open", "Ann open"]
        assert await titles(bob) == ["Bob open", "Ann open"]
        assert await titles(ann) == ["Ann draft", "Bob open", "Ann open"]
        assert await titles(guest, f"&user_id={ann.id}") == ["Ann open"]
        assert await titles(ann, f"&user_id={ann.id}") == ["Ann draft", "Ann open"]
        assert await titles(ann, f"&user_id={uuid4()}") == []

    async def test_list_is_at_the_root_and_under_data(self, guest: Client, ann: ApiUser):
        tag = word()
        row = await publish(ann, "Both", tags=[tag])
        body = (await guest.get(f"/recipes?tags={tag}")).json()
        assert body["success"] is True
        assert body["recipes"] == body["data"]["recipes"]
        assert body["pagination"] == body["data"]["pagination"]
        assert body["pagination"] == {"page": 1, "limit": 20, "total": 1, "totalPages": 1}
        (listed,) = body["recipes"]
        assert {**listed, "is_favorited": False, "ai_metadata": None} == row["data"]

    async def test_pages_and_offsets(self, guest: Client, ann: ApiUser):
        tag = word()
        for n in range(5):
            await publish(ann, f"Number {n}", tags=[tag])

        async def slice_of(query: str) -> tuple[list[str], dict[str, int]]:
            body = (await guest.get(f"/recipes?tags={tag}&{query}")).json()
            return [row["title"][-1] for row in body["recipes"]], body["pagination"]

        shared = {"total": 5, "limit": 2, "totalPages": 3}
        assert await slice_of("limit=2") == (["4", "3"], {"page": 1, **shared})
        assert await slice_of("limit=2&page=2") == (["2", "1"], {"page": 2, **shared})
        assert await slice_of("limit=2&page=3") == (["0"], {"page": 3, **shared})
        assert await slice_of("limit=2&page=9") == ([], {"page": 9, **shared})
        assert await slice_of("limit=2&offset=3") == (["1", "0"], {"page": 2, **shared})
        assert await slice_of("limit=2&offset=3&page=1") == (["4", "3"], {"page": 1, **shared})

    async def test_parameters_beyond_limits_are_rejected(self, guest: Client):
        for query, literal in BAD_QUERIES:
            response = await guest.get(f"/recipes?{query}")
            assert response.status_code == 400, query
            assert response.json()["error"] == literal
            assert response.json()["success"] is False

    async def test_tags_overlap_and_difficulty_matches(self, guest: Client, ann: ApiUser):
        one, two = word(), word()
        await publish(ann, "One", tags=[one], difficulty="easy")
        await publish(ann, "Two", tags=[two], difficulty="hard")

        async def titles(query: str) -> set[str]:
            body = (await guest.get(f"/recipes?{query}")).json()
            return {row["title"] for row in body["recipes"]}

        assert await titles(f"tags={one},{two}") == {"One", "Two"}
        assert await titles(f"tags={one}&tags={two}") == {"One", "Two"}
        assert await titles(f"tags={one}, ,nothing") == {"One"}
        assert await titles(f"tags={one},{two}&difficulty=Advanced") == {"Two"}
        assert await titles(f"tags={one},{two}&difficulty=any") == {"One", "Two"}

    async def test_search_matches_words_and_a_prefix_of_the_last(self, guest: Client, ann: ApiUser):
        w = word()
        await publish(ann, f"Tomato {w} soup", description="with basil", cuisine="thai")
        await publish(ann, f"Leek {w} pie")

        async def found(search: str) -> set[str]:
            response = await guest.get("/recipes", params={"search": search})
            assert response.status_code == 200
            return {row["title"].split()[0] for row in response.json()["recipes"]}

        assert await found(w) == {"Tomato", "Leek"}
        assert await found(w[:-2]) == {"Tomato", "Leek"}
        assert await found(f"{w} SOU") == {"Tomato"}
        assert await found(f"{w} bas") == {"Tomato"}
        assert await found(f"thai {w}") == {"Tomato"}
        assert await found(f"tom {w}") == set()
        assert await found(f"{w} nothing") == set()

    async def test_search_text_is_never_syntax(self, guest: Client):
        for search in (*"!'%_\\(&|", "a & b", "a | !b", "soup:*", "<->", "' or 1=1 --", "(("):
            assert (await guest.get("/recipes", params={"search": search})).status_code == 200

    async def test_empty_search_is_ignored(self, guest: Client, ann: ApiUser):
        tag = word()
        await publish(ann, "Anything", tags=[tag])
        body = (await guest.get(f"/recipes?tags={tag}&search=%20&user_id=&difficulty=")).json()
        assert len(body["recipes"]) == 1

    async def test_search_for_trending_orders_by_trend(
        self, server: Server, guest: Client, ann: ApiUser
    ):
        tag = word()
        scores = {"Quiet": 0, "Loud": 900.5, "Fresh": 50}
        for title, score in scores.items():
            row = await publish(ann, title, tags=[tag])
            await server.sql(
                "update recipes set trending_score = %(score)s where id = %(id)s",
                score=score,
                id=row["id"],
            )
        body = (await guest.get(f"/recipes?tags={tag}&search=Trending")).json()
        assert [(row["title"], row["is_trending"]) for row in body["recipes"]] == [
            ("Loud", True),
            ("Fresh", False),
            ("Quiet", False),
        ]
        assert body["recipes"][0]["trending_score"] == 900.5

    async def test_list_of_any_length_takes_three_reads(
        self, server: Server, guest: Client, ann: ApiUser, bob: ApiUser
    ):
        tag = word()
        for n in range(6):
            await publish(ann if n % 2 else bob, f"Number {n}", tags=[tag])
        before = server.database.stats.borrowed
        body = (await guest.get(f"/recipes?tags={tag}")).json()
        assert len(body["recipes"]) == 6
        assert server.database.stats.borrowed - before == 3


class TestChange:
    async def test_only_given_fields_change(self, ann: ApiUser):
        row = await publish(ann, "Before", **FULL)
        response = await ann.put(
            f"/recipes/{row['id']}", {"title": "After", "servings": 2, "cuisine": None}
        )
        assert response.status_code == 200
        changed = response.json()
        assert changed["updated_at"] > row["updated_at"]
        expected = {**row["data"], "title": "After", "servings": 2}
        expected["updated_at"] = changed["updated_at"]
        assert changed["data"] == expected
        assert (await ann.get(f"/recipes/{row['id']}")).json()["data"] == expected

    async def test_change_without_known_fields_is_rejected(self, ann: ApiUser):
        row = await publish(ann, "Known")
        for body in (None, {}, {"name": "Other"}):
            response = await ann.put(f"/recipes/{row['id']}", body)
            assert (response.status_code, response.json()["error"]) == (400, "No fields to update")

    async def test_change_of_nulls_returns_the_row(self, ann: ApiUser):
        row = await publish(ann, "Same")
        response = await ann.put(f"/recipes/{row['id']}", {"title": None})
        assert response.json()["data"] == row["data"]

    async def test_plain_instructions_replace_detailed_steps(self, ann: ApiUser):
        row = await publish(ann, "Steps", instructions=[{"instruction": "Stir", "time": 3}])
        changed = await ann.put(f"/recipes/{row['id']}", {"instructions": ["Wait"]})
        assert changed.json()["instructions"] == ["Wait"]
        changed = await ann.put(
            f"/recipes/{row['id']}", {"instructions": [{"instruction": "Fry", "time": 1}]}
        )
        assert changed.json()["instructions"] == [{"instruction": "Fry", "time": 1}]

    async def test_lists_can_be_emptied_and_a_recipe_withdrawn(self, guest: Client, ann: ApiUser):
        row = await publish(ann, "Public", **FULL)
        changed = await ann.put(
            f"/recipes/{row['id']}", {"ingredients": [], "tags": [], "is_published": False}
        )
        assert changed.json()["ingredients"] == changed.json()["tags"] == []
        assert (await guest.get(f"/recipes/{row['id']}")).status_code == 404

    async def test_recipe_of_another_user_is_a_404(self, ann: ApiUser, bob: ApiUser):
        row = await publish(ann, "Mine")
        for response in (
            await bob.put(f"/recipes/{row['id']}", {"title": "Yours"}),
            await bob.delete(f"/recipes/{row['id']}"),
        ):
            assert response.status_code == 404
            assert response.json()["error"] == "Recipe not found"
        assert (await ann.get(f"/recipes/{row['id']}")).json()["data"] == row["data"]

    async def test_author_deletes_a_recipe(self, ann: ApiUser):
        row = await publish(ann, "Gone")
        response = await ann.delete(f"/recipes/{row['id']}")
        assert response.status_code == 200
        assert response.json()["success"] is True
        assert response.json()["message"]
        assert (await ann.delete(f"/recipes/{row['id']}")).status_code == 404
        assert (await ann.post("/recipes", {"title": "Gone"})).status_code == 201

    async def test_writing_requires_a_token(self, guest: Client):
        for method, path in (
            ("POST", "/recipes"),
            ("PUT", f"/recipes/{uuid4()}"),
            ("DELETE", f"/recipes/{uuid4()}"),
        ):
            response = await guest.request(method, path, json={"title": "Soup"})
            assert response.status_code == 401
            assert response.json()["error"] == "Authentication required"


class Unchecked(Recipes):
    """The service without its ownership check: every caller counts as the author."""

    async def require_own(self, author: Identity, recipe_id: UUID) -> Recipe:
        recipe = await self.store.find(author, recipe_id)
        if recipe is None:
            raise NotFound
        return recipe


class TestRowLevelSecurity:
    """PostgreSQL itself keeps people from writing what is not theirs."""

    @pytest.fixture
    async def unchecked(self, database_url: str) -> AsyncIterator[Server]:
        def replace(built: Container) -> dict[str, Any]:
            store = RecipeStore(built.database)
            return {"recipes": Unchecked(store, built.cache)}

        async with open_server(database_url, replace=replace) as opened:
            yield opened

    async def test_policies_hold_without_the_checks_of_the_service(self, unchecked: Server):
        ann, bob = await unchecked.person("Ann"), await unchecked.person("Bob")
        row = await publish(ann, "Ann's")
        path = f"/recipes/{row['id']}"
        assert (await bob.put(path, {"title": "Bob's"})).status_code == 404
        assert (await bob.delete(path)).status_code == 404
        assert (await ann.get(path)).json()["data"] == row["data"]
        assert (await ann.put(path, {"title": "Still Ann's"})).status_code == 200

    async def test_policies_hold_and_not_the_statements(self, server: Server, ann: ApiUser):
        row = await publish(ann, "Ann's own")
        async with server.database.transaction_as(SERVICE) as tx:
            written = await tx.fetch_one(
                dict,
                UPDATE,
                recipe_id=UUID(row["id"]),
                **_values(RecipeContent(title="Anybody's")),
            )
        assert written["title"] == "Anybody's"

    async def test_recipe_cannot_be_created_for_another_author(
        self, server: Server, ann: ApiUser, bob: ApiUser
    ):
        with pytest.raises(InsufficientPermissions):
            async with server.database.transaction_as(identity(bob)) as tx:
                await tx.execute(
                    "insert into public.recipes (title, created_by) values ('Forged', %(ann)s)",
                    ann=UUID(ann.id),
                )

    async def test_author_cannot_feature_a_recipe(self, server: Server, ann: ApiUser):
        row = await publish(ann, "Humble")
        with pytest.raises(InsufficientPermissions):
            async with server.database.transaction_as(identity(ann)) as tx:
                await tx.execute(
                    "update public.recipes set is_featured = true where id = %(id)s",
                    id=UUID(row["id"]),
                )


async def test_legacy_prefix_and_head_are_served(server: Server, ann: ApiUser):
    row = await publish(ann, "Legacy")
    assert (await server.http.get(f"/api/recipes/{row['id']}")).status_code == 200
    assert (await server.http.get("/API/Recipes/?limit=1")).status_code == 200
    head = await server.guest.request("HEAD", f"/recipes/{row['id']}")
    assert head.status_code == 200
    assert head.content == b""
