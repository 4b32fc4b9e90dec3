"""`cookcam openapi`."""

from __future__ import annotations

import click


@click.command()
def openapi() -> None:
    """Print the OpenAPI document of the API."""
    import structlog
    import trio

    from cookcam.app.openapi_document import openapi_document

    structlog.configure(
        logger_factory=structlog.ReturnLoggerFactory()
    )  # the output is the document
    click.echo(trio.run(openapi_document))
