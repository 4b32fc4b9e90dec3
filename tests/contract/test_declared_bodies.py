"""Decoders accept nothing that the OpenAPI document calls invalid.

Every field of every recorded request, and every field that the document declares besides, is
replaced by null, by values of other types, and left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from tests.contract.server import ContractServer

VALUES: tuple[Any, ...] = (None, True, 7, 2.5, "7", "words", "a\0b", [], ["a"], [7], {}, {"a": 1})
REJECTED = (400, 401, 413, 415, 422)
NOT_READ = {
    "POST /recipes/generate": ("ingredients", "detectedIngredients"),
    "POST /recipes/generate-full": ("sessionId", "originalInput"),
}
"""Where the first field is given, the second is not read."""

ORIGINAL_INPUT = {
    "detectedIngredients": ["rice"],
    "dietaryTags": ["vegan"],
    "cuisinePreferences": "thai",
    "timeAvailable": "30 minutes",
    "skillLevel": "easy",
}
PREFERENCES = {
    "skillLevel": "easy",
    "dietaryRestrictions": ["vegan"],
    "cuisinePreferences": ["thai"],
    "availableTime": 30,
    "kitchenEquipment": ["oven"],
    "dislikedIngredients": ["olives"],
    "preferredCookingMethods": ["baking"],
    "spiceLevel": "mild",
    "servingSize": 2,
    "mealPrepPortions": 4,
}
MORE_BODIES: dict[str, Any] = {
    "POST /recipes/generate-full": {"selectedTitle": "Rice", "originalInput": ORIGINAL_INPUT},
    "POST /recipes/generate": {"detectedIngredients": ["rice"], "preferences": PREFERENCES},
}
"""Bodies of another form than the example's."""


def changed(body: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Copies of a body with one change each, at any depth, and where the change is."""
    declared = dict.fromkeys((*body, *schema.get("properties", {})))
    for name in declared:
        for other in VALUES:
            yield f"{name}={other!r}", {**copy.deepcopy(body), name: other}
    for name, value in body.items():
        without = copy.deepcopy(body)
        del without[name]
        yield f"{name} left out", without
        below = schema.get("properties", {}).get(name, {})
        if isinstance(value, dict):
            for place, inner in changed(value, below):
                yield f"{name}.{place}", {**copy.deepcopy(body), name: inner}
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for place, inner in changed(value[0], below.get("items", {})):
                yield f"{name}[0].{place}", {**copy.deepcopy(body), name: [inner, *value[1:]]}


async def test_what_the_document_calls_invalid_is_rejected(server: ContractServer) -> None:
    document = (await server.http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    cora = await server.creator()
    admin = await server.person("Adam", role="admin")
    recipe = await server.recipe(cora, ingredients=["10 g butter"], instructions=["Melt"])
    accepted: list[str] = []
    requested = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            body_schema = (
                operation.get("requestBody", {}).get("content", {}).get("application/json")
                if method != "servers"
                else None
            )
            if body_schema is None:
                continue
            label = f"{method.upper()} {path}"
            schema = schemas[body_schema["schema"]["$ref"].rpartition("/")[2]]
            whole = {**body_schema["schema"], "components": document["components"]}
            validator = Draft202012Validator(whole)
            sender = admin if path.startswith(("/moderation/", "/backup/")) else cora
            bodies = [body_schema["example"]]
            bodies += [MORE_BODIES[label]] if label in MORE_BODIES else []
            url = path.replace("{recipe_id}", recipe)
            for body in bodies:
                for place, sent in changed(body, schema):
                    read, unread = NOT_READ.get(label, ("", ""))
                    looked_at = {**sent, unread: body.get(unread)} if sent.get(read) else sent
                    if validator.is_valid(sent) or validator.is_valid(looked_at):
                        continue
                    response = await sender.request(method.upper(), url, json=sent)
                    requested += 1
                    if response.status_code not in REJECTED:
                        accepted.append(f"{label} {place}: {response.status_code}")
    assert not accepted, "\n".join(accepted)
    assert requested > 1000
