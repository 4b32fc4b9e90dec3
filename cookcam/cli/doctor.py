"""`cookcam doctor`."""

from __future__ import annotations

import json
import sys

import click


@click.command()
@click.argument("url")
@click.option("--email", help="Account to sign in with.")
@click.option(
    "--password",
    envvar="COOKCAM_DOCTOR_PASSWORD",
    show_envvar=True,
    help="Its password; other users of this machine can read command lines.",
)
@click.option(
    "--token",
    envvar="COOKCAM_DOCTOR_TOKEN",
    show_envvar=True,
    help="Access token, instead of an account.",
)
@click.option("--origin", help="Web origin that the server must allow.")
@click.option(
    "--internal-key", envvar="INTERNAL_API_KEY", show_envvar=True, help="Opens detailed health."
)
@click.option(
    "--sentry-dsn", envvar="SENTRY_DSN", show_envvar=True, help="Where to send a test event."
)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def doctor(url: str, as_json: bool, **options: str | None) -> None:
    """Check the server at URL from outside, such as https://api.cookcam.ai.

    Every check is ok, failed or skipped; exit status 1 when one failed. Nothing is changed there,
    except for the session of the account.
    """
    import trio

    from cookcam.cli.doctor_checks import Finding, open_target, run_checks

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must start with https:// or http://", param_hint="URL")

    async def run() -> list[Finding]:
        async with open_target(url, **options) as target:
            return await run_checks(target)

    findings = trio.run(run)
    good = not any(finding.state == "failed" for finding in findings)
    if as_json:
        rows = [
            {"check": finding.check, "state": finding.state, "detail": finding.detail}
            for finding in findings
        ]
        click.echo(json.dumps({"ok": good, "findings": rows}))
    else:
        click.echo("\n".join(map(str, findings)))
    sys.exit(0 if good else 1)
