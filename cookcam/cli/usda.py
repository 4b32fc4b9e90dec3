"""`cookcam usda import`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cookcam.cli.common import ENV_FILE, database_config, environment


@click.group()
def usda() -> None:
    """The food data of USDA FoodData Central."""


@usda.command("import")
@ENV_FILE
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def usda_import(env_file: Path | None, file: Path) -> None:
    """Load a download of FoodData Central, CSV or JSON, into the ingredients.

    After an interruption the same command resumes. Rows that cannot be used are reported with their
    line and skipped.
    """
    database = database_config(environment(env_file))
    from cookcam.features.food.ingredients.importing.command import run_import

    sys.exit(run_import(database.url.reveal(), file))
