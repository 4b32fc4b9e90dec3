"""Cooking tips: a reward of common boxes."""

from __future__ import annotations

from typing import Final

TIPS: Final[tuple[str, ...]] = (
    "Salt pasta water until it tastes like mild broth: it is the one chance to season the inside.",
    "Keep a cup of pasta water. Its starch binds fat and liquid into a smooth sauce.",
    "Pat meat and fish dry before they go into the pan. Wet surfaces steam and do not brown.",
    "Let the pan get hot before the oil goes in, and the oil before the food does.",
    "Give the pan room. Crowded pieces cool it down and stew in their own water.",
    "Let a steak rest for five minutes after the pan, so that less juice runs onto the board.",
    "Salt a roast the day before. The salt has time to travel to the middle.",
    "Cook rice, rest it ten minutes with the lid on, and only then loosen it with a fork.",
    "Rinse rice until the water runs nearly clear if the grains are to stay apart.",
    "Start potatoes in cold water, so that the outside is not mush before the core is done.",
    "Cool green vegetables in iced water right after boiling. They stay green and crisp.",
    "A sauce that tastes flat often wants acid, not salt: try lemon juice or a little vinegar.",
    "Put garlic in after the onions. It burns in seconds and turns bitter.",
    "Toast whole spices in a dry pan until they smell, then grind them.",
    "Stir soft herbs in at the end. Give woody ones, such as thyme and rosemary, time to cook.",
    "Bring eggs and butter to room temperature before baking, so that they mix evenly.",
    "Weigh flour. A cup of it can differ by a third, depending on how it was filled.",
    "Stop mixing muffin batter while it still has lumps. Longer stirring makes it tough.",
    "Sharpen the knife. A dull one slips, and a sharp one goes where it is led.",
    "Lay a damp cloth under the cutting board and it will not slide.",
    "Freeze ginger and grate it as it is. It needs no peeling and makes no threads.",
    "Freeze leftover wine or stock in an ice-cube tray, for sauces of one portion.",
    "Wrap the crown of a bunch of bananas, and they ripen more slowly.",
    "Stand asparagus and soft herbs in a glass of water in the refrigerator, like flowers.",
    "Keep tomatoes out of the refrigerator until they are ripe: the cold stops their flavour.",
    "Brown butter until it smells of nuts. It lifts cakes, pasta and vegetables alike.",
    "Pour a splash of water into the hot pan after frying and scrape: that is the sauce.",
    "Fry mushrooms without salt until they brown. Salted early, they give up their water.",
    "Press a finger on baked cake: when it springs back, it is done.",
    "Taste with a clean spoon at every step. What is missing is easier to add early than late.",
    "Reheat leftovers until they steam all through, and only once.",
    "Chill soups and stews in a shallow dish, so that they are cold within two hours.",
)
