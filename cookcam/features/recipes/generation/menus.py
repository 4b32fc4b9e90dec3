"""Three complete recipes at once: 9.4 of `spec/http-api-core.md`."""

from __future__ import annotations

from attrs import frozen

from cookcam.database import Database
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.checks import Taboo
from cookcam.features.recipes.generation.chef import Chef
from cookcam.features.recipes.generation.contracts import C3, wire
from cookcam.features.recipes.generation.ledger import Ledger
from cookcam.features.recipes.generation.models import Composed, Deadlines, MenuWishes
from cookcam.features.recipes.generation.progress import Watch
from cookcam.features.recipes.generation.rows import menu_row
from cookcam.identity import Identity


@frozen
class MenuService:
    database: Database
    chef: Chef
    recipes: Recipes
    ledger: Ledger
    deadlines: Deadlines

    async def compose(self, caller: Identity, wishes: MenuWishes, watch: Watch) -> Composed:
        """Three different dishes, stored together or not at all.

        Raises LimitReached (403) and what the model's client and the database raise.
        """
        await self.ledger.require_room(caller)
        taboo = Taboo(wishes.disliked)
        menu = await self.chef.ask(
            C3,
            wishes.data,
            watch,
            seconds=self.deadlines.model,
            check=taboo.check_menu,
            check_item=taboo.check_dish,
        )
        watch.stage("storing")
        total = len(menu.recipes)
        drafts = [
            menu_row(recipe, number, total, wishes.diet, menu.analysis)
            for number, recipe in enumerate(menu.recipes, 1)
        ]
        analysis = wire(menu.analysis)
        async with self.database.transaction_as(caller) as tx:
            await self.ledger.count(tx, caller)
            rows = await self.recipes.add_generated(tx, caller, drafts)
            award = await self.ledger.award(
                tx,
                caller,
                "diverse_recipes_generated",
                str(rows[0].id),
                {
                    "recipes_count": total,
                    "ingredients_count": len(wishes.ingredients),
                    "ingredient_analysis": analysis,
                },
            )
        self.ledger.announce(award)
        return Composed(wire(menu.recipes), analysis, await self.recipes.shown(caller, rows))
