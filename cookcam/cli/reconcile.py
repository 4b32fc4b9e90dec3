"""`cookcam reconcile`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cookcam.cli.common import ENV_FILE, config_of, environment


@click.command()
@ENV_FILE
def reconcile(env_file: Path | None) -> None:
    """Compare all subscriptions with their providers now, and correct what differs.

    Opens no port. Resumes an interrupted run. Exit status 1 when it failed or exceeded a threshold;
    0 also while another process reconciles.
    """
    config = config_of(environment(env_file))
    from cookcam.app import open_reconciliation
    from cookcam.features.billing.reconciliation.command import run_reconcile

    sys.exit(run_reconcile(config, open_reconciliation, click.echo))
