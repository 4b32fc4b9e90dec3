"""The commands, one module each.

A command imports what it needs when it runs: a mistake in the environment is reported before the
server's modules are loaded.
"""

from __future__ import annotations

import click

from cookcam import __version__
from cookcam.cli.backup import backup, restore
from cookcam.cli.blocklist import blocklist
from cookcam.cli.check_env import check_env
from cookcam.cli.dev import dev
from cookcam.cli.doctor import doctor
from cookcam.cli.env_example import env_example
from cookcam.cli.migrate import migrate
from cookcam.cli.notifications import notifications
from cookcam.cli.openapi import openapi
from cookcam.cli.reconcile import reconcile
from cookcam.cli.sandbox import sandbox
from cookcam.cli.serve import serve
from cookcam.cli.switches import maintenance, read_only
from cookcam.cli.tasks import tasks
from cookcam.cli.usda import usda
from cookcam.cli.webhooks import webhooks


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cookcam")
def main() -> None:
    """The CookCam API server."""


for command in (
    serve,
    dev,
    sandbox,
    check_env,
    migrate,
    reconcile,
    tasks,
    usda,
    webhooks,
    notifications,
    maintenance,
    read_only,
    backup,
    restore,
    doctor,
    blocklist,
    openapi,
    env_example,
):
    main.add_command(command)
