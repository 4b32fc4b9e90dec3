"""Dishes: what can be made of some foods, as facts that agree with each other.

The steps use the ingredients, the minutes are those of the steps, and the nutrition is that of the
amounts. Meat, fish and eggs are always cooked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import frozen

from cookcam.sandbox.openai.pantry import STAPLES, Food, named, staple
from cookcam.sandbox.openai.wishes import Wishes

Facts = dict[str, Any]


@frozen
class Style:
    """A way to cook. `title` takes the two main foods; minutes are for two people."""

    name: str
    title: str
    method: str
    cuisines: tuple[str, ...]
    equipment: str
    heat: str
    cook: int
    teaser: str


STYLES: Sequence[Style] = (
    Style(
        "stir-fry",
        "{a} and {b} Stir-Fry",
        "stir-frying",
        ("Chinese", "Thai", "Korean", "Japanese", "Vietnamese", "Asian"),
        "wok or wide skillet",
        "high heat",
        12,
        "glossy, fast and full of crunch",
    ),
    Style(
        "roast",
        "Sheet-Pan {a} with {b}",
        "roasting",
        ("Mediterranean", "Greek", "American", "Spanish", "Southern"),
        "sheet pan",
        "220 °C (425 °F)",
        28,
        "one pan, golden edges and hardly any washing up",
    ),
    Style(
        "curry",
        "{a} and {b} Curry",
        "simmering",
        ("Indian", "Thai", "Caribbean", "Fusion"),
        "deep pan with a lid",
        "medium heat",
        24,
        "gently spiced and made for a spoon",
    ),
    Style(
        "soup",
        "{a} and {b} Soup",
        "simmering",
        ("French", "Italian", "Vietnamese", "American"),
        "soup pot",
        "medium-low heat",
        22,
        "a warming bowl that tastes of more than it costs",
    ),
    Style(
        "skillet",
        "{a} and {b} Skillet",
        "sauteing",
        ("Mexican", "American", "Spanish", "Southern"),
        "heavy skillet",
        "medium-high heat",
        18,
        "browned, juicy and on the table before anyone asks",
    ),
    Style(
        "bowl",
        "Warm {a} Bowl with {b}",
        "assembling",
        ("Mediterranean", "Middle-Eastern", "Greek", "Japanese", "Fusion"),
        "saucepan and skillet",
        "medium heat",
        15,
        "bright, filling and good for tomorrow's lunch too",
    ),
    Style(
        "bake",
        "{a} and {b} Bake",
        "baking",
        ("Italian", "French", "American", "Greek"),
        "baking dish",
        "200 °C (400 °F)",
        32,
        "bubbling, crisp on top and generous",
    ),
)

_ADJECTIVES = ("Rustic", "Golden", "Spiced", "Fresh", "Smoky", "Herbed", "Lemony", "Crisp")
_SAFE = {
    "meat": "Cook until no pink is left and the thickest part reads 74 °C (165 °F).",
    "fish": "Cook until opaque all through and 63 °C (145 °F) inside.",
    "egg": "Cook until white and yolk are set.",
}


@frozen
class Portion:
    """A food in a dish; `owned` says whether it came from the person's own list."""

    food: Food
    asked_as: str
    servings: int
    owned: bool

    @property
    def grams(self) -> int:
        return self.food.grams * self.servings

    @property
    def count(self) -> str:
        return f"{self.food.count * self.servings:g}"

    @property
    def quantity(self) -> str:
        if self.food.unit == "g":
            return f"{self.count} g"
        return f"{self.count} {self.food.unit} ({self.grams} g)"


def dishes(wishes: Wishes, seed: int, how_many: int) -> list[Facts]:
    """`how_many` different dishes; the first styles are those of the cuisines asked for."""
    random = Random(seed)  # noqa: S311 # the same question has the same answer
    usable, skipped = _sorted_out(wishes)
    styles = _styles(wishes, random)
    made: list[Facts] = []
    for number in range(how_many):
        style = styles[number % len(styles)]
        used = _some_of(usable, random) if how_many > 1 else usable
        left = [*skipped, *(name for name in usable if name not in used)]
        made.append(_dish(wishes, style, used, left, number, random))
    return made


def _sorted_out(wishes: Wishes) -> tuple[list[str], list[str]]:
    """What of the ingredients may be used, and what the diet or dislikes rule out."""

    def allowed(name: str) -> bool:
        lowered = name.lower()
        return not named(name).contains & wishes.forbidden and not any(
            disliked in lowered or lowered in disliked for disliked in wishes.disliked
        )

    usable = [name for name in wishes.ingredients if allowed(name)]
    skipped = [name for name in wishes.ingredients if not allowed(name)]
    fillers = [name for name in ("rice", "carrot", "tomato", "lentil") if allowed(name)]
    return (usable + fillers[: max(0, 2 - len(usable))]), skipped


def _styles(wishes: Wishes, random: Random) -> list[Style]:
    shuffled = random.sample(STYLES, len(STYLES))
    limit = wishes.minutes or 24 * 60
    in_time = [style for style in shuffled if style.cook + 8 <= limit] or shuffled

    def matches(style: Style) -> bool:
        return any(cuisine.lower() in wishes.cuisines for cuisine in style.cuisines)

    return sorted(in_time, key=lambda style: not matches(style))


def _some_of(names: list[str], random: Random) -> list[str]:
    """Most of the foods, a protein among them if there is one."""
    if len(names) < 4:
        return names
    kept = set(random.sample(names, round(len(names) * 0.75)))
    proteins = [name for name in names if named(name).category == "protein"]
    if proteins and not kept.intersection(proteins):
        kept.add(random.choice(proteins))
    return [name for name in names if name in kept]


def _dish(
    wishes: Wishes,
    style: Style,
    used: list[str],
    left: list[str],
    number: int,
    random: Random,
) -> Facts:
    servings = max(1, wishes.servings)
    own = [Portion(named(name), name, servings, owned=True) for name in used]
    staples = [
        Portion(staple(name), name, servings, owned=False)
        for name in STAPLES
        if not any(name in portion.asked_as.lower() for portion in own)
        and name not in wishes.disliked
    ]
    portions = own + staples
    prep = 6 + 2 * len(own)
    limit = wishes.minutes or 24 * 60
    prep = max(4, min(prep, limit - style.cook))
    cuisine = _cuisine(wishes, style, random)
    title = _title(wishes, style, own, number, random)
    steps = _steps(style, own, staples, prep)
    nutrition = _nutrition(portions, servings)
    main = [portion.asked_as for portion in own]
    difficulty = "easy" if len(own) < 6 and style.cook < 25 else "medium"
    return {
        "id": f"recipe-{number + 1}",
        "title": title,
        "name": title,
        "description": f"{cuisine} {style.name} of {_listed(main[:3])}: {style.teaser}.",
        "onesentenceteaser": f"{_capital(_listed(main[:2]))}, {style.teaser}.",
        "teaser": f"{_capital(_listed(main[:2]))}, {style.teaser}.",
        "cuisine": cuisine,
        "cuisinetype": cuisine,
        "servings": servings,
        "preptime": prep,
        "cooktime": style.cook,
        "totaltime": prep + style.cook,
        "totaltimeminutes": prep + style.cook,
        "estimatedtime": prep + style.cook,
        "difficulty": difficulty,
        "skilllevel": difficulty,
        "cookingmethod": style.method,
        "dietarytags": wishes.diet,
        "tags": [*wishes.diet, cuisine],
        "ingredients": [_ingredient(portion) for portion in portions],
        "instructions": steps,
        "steps": steps,
        "nutrition": nutrition,
        "nutritionestimate": nutrition,
        "macros": nutrition,
        "caloriesperserving": nutrition["calories"],
        "tips": [
            f"Cut everything before the {style.equipment} gets hot.",
            "Taste at the end and adjust salt and acid.",
        ],
        "variations": [f"Swap {main[0]} for what is in season."],
        "storage": "Keeps for 3 days in a closed container in the fridge.",
        "pairing": ["a green salad", "sparkling water with lemon"],
        "finishingtip": "A few drops of lemon wake the whole dish up.",
        "socialcaption": f"We made {title} and nothing went to waste! #CookCam",
        "ingredientsused": main,
        "ingredientsskipped": left,
        "skipreason": f"{_capital(_listed(left))} would not fit a {style.name}." if left else None,
        "mainingredients": main[:5],
        "appealfactors": [
            f"Ready in {prep + style.cook} minutes",
            f"Uses {len(own)} things you have",
        ],
    }


def _cuisine(wishes: Wishes, style: Style, random: Random) -> str:
    wanted = [cuisine for cuisine in style.cuisines if cuisine.lower() in wishes.cuisines]
    if wanted:
        return wanted[0]
    if wishes.cuisines:
        return wishes.cuisines[0].title()
    return random.choice(style.cuisines)


def _title(wishes: Wishes, style: Style, own: list[Portion], number: int, random: Random) -> str:
    if wishes.title and not wishes.theme:
        return wishes.title
    ranked = sorted(own, key=lambda portion: portion.food.category != "protein")
    names = [portion.asked_as.strip().title()[:18] for portion in ranked]
    others = names[1:] or ["Herbs"]
    title = style.title.format(a=names[0], b=others[number % len(others)])
    if wishes.theme:
        return f"{wishes.theme.split()[0].title()} {title}"[:80]
    for adjective in random.sample(_ADJECTIVES, len(_ADJECTIVES)):
        if title.lower() not in wishes.excluded_titles:
            break
        title = f"{adjective} {style.title.format(a=names[0], b=others[-1])}"
    return title


def _ingredient(portion: Portion) -> Facts:
    """Every spelling of one line of the list."""
    return {
        "name": portion.asked_as,
        "item": portion.asked_as,
        "amount": portion.count,
        "unit": portion.food.unit,
        "quantity": portion.quantity,
        "notes": portion.food.variety or None,
        "source": ("scanned", "detected") if portion.owned else ("pantry",),
        "frompantry": not portion.owned,
        "category": portion.food.category,
    }


def _steps(style: Style, own: list[Portion], staples: list[Portion], prep: int) -> list[Facts]:
    """What to do, in order; the minutes add up to the dish's, but for grains, cooked meanwhile."""

    def of(*categories: str) -> list[Portion]:
        return [portion for portion in own if portion.food.category in categories]

    proteins, grains = of("protein"), of("grain")
    vegetables, rest = of("vegetable", "fruit"), of("dairy", "herb", "condiment", "other")
    seasonings = [*of("spice", "oil"), *staples]
    cutting = f"Wash, peel and cut {_amounts(vegetables or own)} into bite-sized pieces."
    steps = [_step(cutting, prep, "cutting", "Keep the fingertips of the free hand tucked in.")]
    start = max(2, style.cook // 5)
    steps.append(
        _step(
            f"Set the {style.equipment} to {style.heat} and add {_amounts(seasonings)}; wait until "
            "it smells sweet and sizzles softly.",
            start,
            style.method,
            "Turn the handle inwards.",
        )
    )
    if proteins:
        safety = " ".join(
            dict.fromkeys(
                _SAFE[kind]
                for portion in proteins
                for kind in sorted(portion.food.contains)
                if kind in _SAFE
            )
        )
        steps.append(
            _step(
                f"Add {_amounts(proteins)} and brown on all sides. {safety}".strip(),
                style.cook // 3,
                "browning",
                safety or None,
            )
        )
    spent = start + (style.cook // 3 if proteins else 0)
    finish = 2
    steps.append(
        _step(
            f"Add {_amounts(vegetables or rest or own)} and cook until tender with a little bite, "
            "stirring now and then.",
            style.cook - spent - finish,
            style.method,
            "Steam burns: open lids away from you.",
        )
    )
    if grains:
        words = f"Meanwhile cook {_amounts(grains)} in salted water until just soft; drain."
        steps.append(_step(words, 10, "boiling", "Drain away from your body."))
    steps.append(
        _step(
            f"Fold in {_amounts(rest)}, taste, and serve at once."
            if rest
            else "Taste, adjust the seasoning and serve at once.",
            finish,
            "finishing",
            None,
        )
    )
    for number, step in enumerate(steps, 1):
        step |= {
            "step": number,
            "order": number,
            "equipment": style.equipment,
            "temperature": style.heat,
        }
    return steps


def _step(instruction: str, minutes: int, technique: str, safety: str | None) -> Facts:
    return {
        "instruction": instruction,
        "time": minutes,
        "technique": technique,
        "safety": safety,
        "tips": "Listen: a steady sizzle is right, silence is too cold, smoke too hot.",
        "protip": "Give every piece room, so that it browns and does not steam.",
    }


def _nutrition(portions: list[Portion], servings: int) -> Facts:
    """Of one serving, from the amounts."""

    def per_serving(value: float) -> float:
        return round(value / servings, 1)

    def total(per_100: str) -> float:
        return sum(getattr(p.food, per_100) * p.grams / 100 for p in portions)

    protein, carbs = per_serving(total("protein")), per_serving(total("carbs"))
    fat = per_serving(total("fat"))
    fiber = round(carbs * 0.12, 1)
    return {
        "calories": round(total("kcal") / servings),
        "protein": protein,
        "proteing": protein,
        "carbs": carbs,
        "carbsg": carbs,
        "carbohydrates": carbs,
        "fat": fat,
        "fatg": fat,
        "fiber": fiber,
        "sodium": 620,
        "sodiummg": 620,
        "sugar": round(carbs * 0.2, 1),
    }


def _amounts(portions: list[Portion]) -> str:
    return _listed([f"{p.count} {p.food.unit} {p.asked_as}" for p in portions])


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
