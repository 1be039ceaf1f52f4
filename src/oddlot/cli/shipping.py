"""The command that ships log lines to streams."""

from __future__ import annotations

import click

from oddlot.cli.group import example, help_option, main


@main.command(epilog=example("oddlot agent agent.json --check", "oddlot agent agent.json"))
@click.argument("config", metavar="AGENT.JSON")
@click.option(
    "--check",
    is_flag=True,
    help="Only say what was understood; exit code 2 if an option is unknown.",
)
@click.option(
    "--status",
    metavar="FILE",
    help="Only say whether all of this log file has been sent: exit code 0 if so, 1 if not.",
)
@help_option
def agent(config: str, check: bool, status: str | None) -> int:
    """Follow log files and send their lines to Kinesis or Firehose.

    Reads Amazon Kinesis Agent's own agent.json unchanged, and the flows in agent.d beside it. Runs
    until Ctrl-C, which sends what was read; the next start goes on where this one ended.
    """
    from oddlot.agent import config as configs

    chosen = configs.load(config)
    for line in (*chosen.unknown, *chosen.cautions):
        click.echo(line, err=True)
    if check:
        click.echo(configs.describe(chosen))
        return 2 if chosen.unknown else 0
    if status is not None:
        from oddlot.agent import status as states

        return states.tell(chosen, status, click.echo)
    from oddlot.agent import run

    run.follow(chosen, lambda line: click.echo(line, err=True))
    return 0
