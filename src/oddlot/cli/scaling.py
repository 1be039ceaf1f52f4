"""The commands that run on Apache Flink."""

from __future__ import annotations

from pathlib import Path

import click

from oddlot.cli.group import example, help_option, main, split_pairs


@main.group(epilog=example("oddlot flink install"))
@help_option
def flink() -> None:
    """Use Apache Flink where one machine is not enough."""


@flink.command(epilog=example("oddlot flink install"))
@click.option("--to", metavar="DIR", help="Where; by default where ODDLOT_FLINK says.")
@help_option
def install(to: str | None) -> None:
    """Make an environment with Flink and a Java, about 800 MB.

    It is one of its own, since Flink needs older versions of several packages.
    """
    from oddlot.engine.flink import home

    home.install(Path(to) if to else home.default_folder(), lambda line: click.echo(line, err=True))


@flink.command(epilog=example("oddlot flink start --to cluster"))
@click.option("--to", default="flink", show_default=True, metavar="DIR", help="Its folder.")
@click.option("--port", default=8081, show_default=True, help="Of Flink's dashboard.")
@click.option("--workers", default=1, show_default=True, help="Task managers.")
@click.option(
    "--slots", default=4, show_default=True, help="Tasks that one of them runs at a time."
)
@help_option
def start(to: str, port: int, workers: int, slots: int) -> None:
    """Run a cluster on this machine, on loopback only, until Ctrl-C.

    A task manager that dies is started anew.
    """
    from oddlot.engine.flink import attended

    attended.attend(Path(to), port, workers, slots, click.echo)


@flink.command(
    epilog=example(
        "oddlot flink sql orders_files alerts_files low_quantity --set orders.path=orders",
        "oddlot flink sql --list",
    )
)
@click.argument("files", nargs=-1)
@click.option("--list", "lists", is_flag=True, help="Only name the files that come with oddlot.")
@click.option(
    "options",
    "--set",
    multiple=True,
    metavar="TABLE.OPTION=VALUE",
    callback=split_pairs,
    help="An option of a table, such as orders.path=/srv/orders; may be repeated.",
)
@click.option("--cluster", metavar="URL", help="Send it there instead of running it here.")
@help_option
def sql(files: tuple[str, ...], lists: bool, options: dict[str, str], cluster: str | None) -> None:
    """Run SQL files in Flink: those that come with oddlot, by their names, or your own.

    A path in --set may be a plain one. The last statement is an INSERT, as a rule, and the command
    ends when that does.
    """
    from oddlot.engine.flink import statements, submit

    if lists or not files:
        for name in statements.names():
            click.echo(name)
        return
    for line in submit.run_sql(files, options, cluster, click.echo):
        click.echo(line, err=True)
