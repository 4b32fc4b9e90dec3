"""Completions of the fake model: fixtures (`fixtures.json`) filled in from the request.

The JSON in the prompt has the ingredients and preferences; the JSON schema of the request decides
the keys and types of the completion. Equal requests get equal completions.
"""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from random import Random
from typing import Any, cast

import orjson
from attrs import define, field, frozen

from cookcam.sandbox.openai.behaviour import Fault
from cookcam.sandbox.openai.foods import FOODS, STAPLES, Food, mentioned, named, staple
from cookcam.sandbox.openai.wire import Answer, Body, Question, tokens_of

FIXTURES: Body = orjson.loads(
    files("cookcam.sandbox.openai").joinpath("fixtures.json").read_bytes()
)
BYTES_PER_TOKEN = 4
USUAL_COUNT = 3
MAX_LIST_LENGTH = 20
DAY_MINUTES = 24 * 60
MACROS = ("protein", "carbs", "fat")
GRAMS = (*MACROS, "carbohydrates", "fiber", "sugar")


def answer_to(question: Question, fault: Fault | None = None) -> Answer:
    """The completion, or an unusable one for a fault."""
    kind = fault.kind if fault is not None else None
    if kind == "refusal":
        return Answer("", refusal="I'm sorry, I can't help with that.")
    if kind == "garbage":
        return Answer("Sure! Here is what I would cook: {")
    if kind == "wrong_shape":
        return Answer('{"thoughts": "hungry"}')
    value = _fill(question, empty=kind == "empty")
    if kind == "wrong_count":
        _shorten_first_list(value)
    text = orjson.dumps(value).decode()
    limit = question.max_tokens
    if kind == "truncated" or (limit is not None and tokens_of(text) > limit):
        whole = text.encode()
        end = len(whole) // 2 if kind == "truncated" else (limit or 0) * BYTES_PER_TOKEN
        return Answer(whole[:end].decode(errors="ignore"), "length")
    if kind == "filtered":
        return Answer(text[: len(text) // 2], "content_filter")
    return Answer(text)


def _shorten_first_list(value: Body) -> None:
    for inner in value.values():
        if isinstance(inner, list) and inner:
            cast("list[object]", inner).pop()
            return


# The request


@define
class RecipeRequest:
    """The ingredients and preferences in a prompt's JSON."""

    ingredients: list[str] = field(factory=list[str])
    disliked: list[str] = field(factory=list[str])
    excluded: list[str] = field(factory=list[str])
    diet: list[str] = field(factory=list[str])
    cuisines: list[str] = field(factory=list[str])
    servings: int = 2
    minutes: int = DAY_MINUTES
    title: str = ""
    theme: str = ""

    def allows(self, food: Food, name: str) -> bool:
        forbidden = {kind for diet in self.diet for kind in FIXTURES["diets"].get(diet, ())}
        return not food.contains & forbidden and not any(
            disliked in name.lower() or name.lower() in disliked for disliked in self.disliked
        )


def read_request(prompt: str) -> RecipeRequest:
    """Read the JSON objects in a prompt; without ingredients, take the foods it mentions."""
    wanted = RecipeRequest()
    decoder, at = json.JSONDecoder(), prompt.find("{")
    while at >= 0:
        try:
            part, end = decoder.raw_decode(prompt, at)
        except ValueError:
            end = at + 1
        else:
            _read(part, wanted)
        at = prompt.find("{", end)
    wanted.ingredients = list(dict.fromkeys(wanted.ingredients or mentioned(prompt)))
    return wanted


def _read(part: Body, wanted: RecipeRequest) -> None:
    for key, value in part.items():
        name, lowered = key.lower(), [text.lower() for text in _texts(value)]
        if "disliked" in name:
            wanted.disliked += lowered
        elif "exclude" in name:
            wanted.excluded += lowered
        elif "ingredient" in name:
            wanted.ingredients += _texts(value)
        elif "diet" in name:
            wanted.diet += [text.replace(" ", "-").replace("_", "-") for text in lowered]
        elif "cuisine" in name:
            wanted.cuisines += [text for text in lowered if text not in FIXTURES["any_cuisine"]]
        elif name in ("servingsize", "servings"):
            wanted.servings = _whole(value) or wanted.servings
        elif name in ("availabletime", "timeavailable", "estimatedtime"):
            broad = FIXTURES["minutes"].get(str(value).lower())
            wanted.minutes = broad or _whole(value) or wanted.minutes
        elif name == "theme" and isinstance(value, str):
            wanted.theme = value
        elif name in ("selectedtitle", "title") and isinstance(value, str):
            wanted.title = value
        elif isinstance(value, dict):
            _read(cast("Body", value), wanted)


def _texts(value: object) -> list[str]:
    """The texts in a value: itself, its elements, or the names of its elements."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list):
        return [text for inner in cast("list[object]", value) for text in _texts(inner)]
    return _texts(cast("Body", value).get("name")) if isinstance(value, dict) else []


def _whole(value: object) -> int:
    digits = re.search(r"\d{1,4}", str(value))
    return int(digits.group()) if digits else 0


# Recipes


@frozen
class Portion:
    """A food in a recipe; `owned`: in the request, not a staple."""

    food: Food
    name: str
    servings: int
    owned: bool

    @property
    def grams(self) -> int:
        return self.food.grams * self.servings

    @property
    def amount(self) -> str:
        return f"{self.food.count * self.servings:g}"

    def facts(self) -> Body:
        weight = "" if self.food.unit == "g" else f" ({self.grams} g)"
        return {
            "name": self.name,
            "item": self.name,
            "amount": self.amount,
            "unit": self.food.unit,
            "quantity": f"{self.amount} {self.food.unit}{weight}",
            "notes": self.food.variety or None,
            "source": ("scanned", "detected") if self.owned else ("pantry",),
            "frompantry": not self.owned,
        }


def recipes(wanted: RecipeRequest, seed: int, count: int) -> list[Body]:
    """`count` different recipes as facts by key, in the preferred cuisines if there are any."""
    random = Random(seed)  # noqa: S311 # the same request has the same answer
    usable = [name for name in wanted.ingredients if wanted.allows(named(name), name)]
    if len(usable) < 2:
        fillers = (name for name in FIXTURES["fillers"] if wanted.allows(named(name), name))
        usable += list(fillers)[: 2 - len(usable)]
    styles = random.sample(FIXTURES["styles"], len(FIXTURES["styles"]))
    styles = [s for s in styles if s["cook"] + 8 <= wanted.minutes] or styles
    styles.sort(key=lambda s: not set(wanted.cuisines) & {c.lower() for c in s["cuisines"]})
    made: list[Body] = []
    taken = set(wanted.excluded)
    for number in range(count):
        used = usable
        if count > 1 and len(usable) > 3:
            used = sorted(random.sample(usable, round(len(usable) * 0.75)), key=usable.index)
        style = styles[number % len(styles)]
        title = _title(wanted, style, used, number, taken)
        taken.add(title.lower())
        made.append(_recipe(wanted, style, used, title, number))
    return made


def _recipe(wanted: RecipeRequest, style: Body, used: list[str], title: str, number: int) -> Body:
    servings = max(1, wanted.servings)
    own = [Portion(named(name), name, servings, owned=True) for name in used]
    staples = [
        Portion(staple(name), name, servings, owned=False)
        for name in STAPLES
        if wanted.allows(staple(name), name) and not any(name in other.lower() for other in used)
    ]
    cook: int = style["cook"]
    prep = max(4, min(6 + 2 * len(own), wanted.minutes - cook))
    skipped = [name for name in wanted.ingredients if name not in used]
    matching = [name for name in style["cuisines"] if name.lower() in wanted.cuisines]
    cuisine = next(iter(matching), (wanted.cuisines or style["cuisines"])[0].title())
    difficulty = "easy" if len(own) < 6 and cook < 25 else "medium"
    values = {
        **style,
        "style": style["name"],
        "title": title,
        "cuisine": cuisine,
        "main": ", ".join(used[:3]),
        "first": used[0] if used else "pantry staples",
        "minutes": prep + cook,
        "count": len(own),
        "skipped": ", ".join(skipped),
        "own": _amounts(own),
        "staples": _amounts(staples),
        "safety": " ".join(
            text
            for kind, text in FIXTURES["safety"].items()
            if any(kind in portion.food.contains for portion in own)
        ),
    }
    recipe = _filled_in(FIXTURES["recipe"], values)
    steps = _steps(values, prep, cook)
    nutrition = _nutrition(own + staples, servings)
    return {
        **recipe,
        "id": f"recipe-{number + 1}",
        "title": title,
        "cuisine": cuisine,
        "cuisinetype": cuisine,
        "servings": servings,
        "preptime": prep,
        "cooktime": cook,
        **dict.fromkeys(("totaltime", "totaltimeminutes", "estimatedtime"), prep + cook),
        "difficulty": difficulty,
        "skilllevel": difficulty,
        "cookingmethod": style["method"],
        "dietarytags": wanted.diet,
        "ingredients": [portion.facts() for portion in own + staples],
        "instructions": steps,
        "steps": steps,
        **dict.fromkeys(("nutrition", "nutritionestimate", "macros"), nutrition),
        "caloriesperserving": nutrition["calories"],
        "ingredientsused": used,
        "ingredientsskipped": skipped,
        "skipreason": recipe["skipreason"] if skipped else None,
        "mainingredients": used[:5],
    }


def _title(
    wanted: RecipeRequest, style: Body, used: list[str], number: int, taken: set[str]
) -> str:
    """The selected title, or an unused one of the style."""
    if wanted.title and not wanted.theme:
        return wanted.title
    first, *others = [name.strip().title()[:18] for name in used] or ["Pantry"]
    others = others or ["Herbs"]
    title: str = style["title"].format(a=first, b=others[number % len(others)])
    if wanted.theme:
        return f"{wanted.theme.split()[0].title()} {title}"[:80]
    titles = [title, *(f"{adjective} {title}" for adjective in FIXTURES["adjectives"])]
    return next((one for one in titles if one.lower() not in taken), titles[-1])


def _steps(values: Body, prep: int, cook: int) -> list[Body]:
    """The steps of the fixtures; their minutes add up to the recipe's."""
    steps: list[Body] = []
    for number, fixture in enumerate(FIXTURES["steps"], 1):
        step = _filled_in({**FIXTURES["every_step"], **fixture}, values)
        minutes = round(cook * step.pop("share")) or prep
        steps.append({**step, "time": minutes, "step": number, "order": number})
    steps[-1]["time"] = prep + cook - sum(step["time"] for step in steps[:-1])
    return steps


def _nutrition(portions: list[Portion], servings: int) -> Body:
    """The nutrition of one serving, from the amounts."""

    def per_serving(name: str) -> float:
        total = sum(getattr(p.food, name) * p.grams / 100 for p in portions)
        return round(total / servings, 1)

    macros = {name: per_serving(name) for name in MACROS}
    return {
        **macros,
        **{f"{name}g": value for name, value in macros.items()},
        "calories": round(per_serving("kcal")),
        "carbohydrates": macros["carbs"],
        "fiber": round(macros["carbs"] * 0.12, 1),
        "sugar": round(macros["carbs"] * 0.2, 1),
        "sodium": 620,
    }


def _amounts(portions: Sequence[Portion]) -> str:
    return ", ".join(f"{p.amount} {p.food.unit} {p.name}" for p in portions) or "nothing else"


def _filled_in(fixture: Any, values: Body) -> Any:
    """A fixture with the names in braces replaced by values."""
    if isinstance(fixture, str):
        return fixture.format_map(values).strip()
    if isinstance(fixture, list):
        return [_filled_in(one, values) for one in cast("list[Any]", fixture)]
    if isinstance(fixture, dict):
        return {key: _filled_in(one, values) for key, one in cast("Body", fixture).items()}
    return fixture


def detected(images: Sequence[str]) -> list[Body]:
    """Three to six foods, the surest first, decided by the bytes of the images (data URLs)."""
    random = Random(sha256("".join(images).encode()).digest())  # noqa: S311 # not for secrets
    visible = [food for food in FOODS if food.category in FIXTURES["visible"]]
    foods = random.sample(visible, random.randint(3, 6))
    return [
        {
            "name": food.name,
            "variety": food.variety,
            "quantity": f"{food.count * 2:g}",
            "unit": food.unit,
            "confidence": round(0.97 - 0.06 * place - random.random() / 20, 2),
            "category": food.category,
        }
        for place, food in enumerate(foods)
    ]


# Schemas


def _fill(question: Question, *, empty: bool) -> Body:
    """A completion that matches the request's schema; with `empty`, the shortest one."""
    wanted = read_request(question.prompt)
    facts: Body = {
        "totalscanned": len(wanted.ingredients),
        "compatibilitygroups": [wanted.ingredients[:3], wanted.ingredients[3:6]],
        "pantrystaplesused": list(STAPLES),
    }
    properties = cast("dict[str, Body]", question.schema["properties"])
    if "title" in properties:
        facts |= recipes(wanted, question.seed, 1)[0]
    return cast(
        "Body", _Filler(question, wanted, empty).value(question.schema, "", ChainMap(facts))
    )


@frozen
class _Filler:
    """Shapes facts to a schema.

    Facts are looked up by key from the innermost object outwards, without regard to case and
    underscores. Missing facts become the shortest value that the schema allows.
    """

    question: Question
    wanted: RecipeRequest
    empty: bool

    def value(self, schema: Body, key: str, facts: ChainMap[str, Any], fact: object = None) -> Any:
        if "anyOf" in schema:
            choices = cast("list[Body]", schema["anyOf"])
            if fact is None and any(choice.get("type") == "null" for choice in choices):
                return None
            schema = next(choice for choice in choices if choice.get("type") != "null")
            return self.value(schema, key, facts, fact)
        if "enum" in schema:
            return _choice(schema["enum"], fact)
        match schema["type"]:
            case "object":
                inner = facts.new_child(cast("Body", fact) if isinstance(fact, dict) else {})
                return {
                    name: self.value(one, name, inner, inner.get(_plain(name)))
                    for name, one in cast("dict[str, Body]", schema["properties"]).items()
                }
            case "array":
                return self._array(schema, key, facts, fact)
            case "boolean":
                return fact is True
            case "integer" | "number":
                return _number(schema, fact)
            case "string":
                return _text(key, facts, fact)
            case _:
                return None

    def _array(self, schema: Body, key: str, facts: ChainMap[str, Any], fact: object) -> list[Any]:
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", MAX_LIST_LENGTH))
        described = cast("Body", schema["items"]).get("properties", {})
        items: list[Any] = []
        if not self.empty:
            if "confidence" in described:
                items = detected(self.question.images)
            elif "title" in described:
                count = min(most, max(least, USUAL_COUNT))
                items = recipes(self.wanted, self.question.seed, count)
            elif isinstance(fact, (list, tuple)):
                items = list(cast("Sequence[Any]", fact))
        items += [None] * (least - len(items))
        return [self.value(schema["items"], key, facts, one) for one in items[:most]]


def _number(schema: Body, fact: object) -> float:
    number = fact if isinstance(fact, (int, float)) else _whole(fact)
    number = min(max(number, schema.get("minimum", number)), schema.get("maximum", number))
    return round(number) if schema["type"] == "integer" else number


def _text(key: str, facts: ChainMap[str, Any], fact: object) -> str:
    if isinstance(fact, tuple):
        fact = cast("tuple[object, ...]", fact)[0]
    if isinstance(fact, str):
        return fact
    if isinstance(fact, (int, float)):
        return f"{fact:g}g" if _plain(key) in GRAMS else f"{fact:g}"
    if isinstance(fact, list):
        return ", ".join(map(str, cast("list[object]", fact)))
    return str(facts.get("onesentenceteaser", ""))


def _choice(enum: list[object], fact: object) -> object:
    """The choice that matches a fact, in any spelling; else one in the middle."""
    spellings = cast("tuple[object, ...]", fact if isinstance(fact, tuple) else (fact,))
    names = {str(spelling).lower() for spelling in spellings}
    names |= {FIXTURES["levels"].get(name, name) for name in names}
    return next((one for one in enum if str(one).lower() in names), enum[len(enum) // 2])


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())
