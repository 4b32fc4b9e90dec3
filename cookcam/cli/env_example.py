"""`cookcam env-example`, which generates `.env.example`."""

from __future__ import annotations

import click


@click.command(hidden=True)
def env_example() -> None:
    """Print the text of .env.example."""
    from cookcam.config.env_example import env_example as text

    click.echo(text(), nl=False)
