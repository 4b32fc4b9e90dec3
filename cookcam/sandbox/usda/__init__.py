"""A fake of USDA FoodData Central that speaks its API.

    async with open_usda() as usda:
        client = Usda.open(base_url=usda.url, api_key=Secret(usda.api_key))

It knows some three hundred common foods (`foods.csv`): amounts per 100 g are rounded reference
values, ids have the shape of FDC's and are not all FDC's own. Source of the protocol: the published
API of FoodData Central and of the gateway before it, api.data.gov.
"""

from cookcam.sandbox.usda.foods import Food, foods
from cookcam.sandbox.usda.server import Behaviour, FakeUsda, open_usda

__all__ = ["Behaviour", "FakeUsda", "Food", "foods", "open_usda"]
