"""The commands: each parses what the user wrote, calls one function and prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from oddlot import __version__
from oddlot.errors import OddlotError

_INTERRUPTED = 130


class _Refusal(click.ClickException):
    """An error of ours, as click knows errors."""

    def __init__(self, error: OddlotError) -> None:
        super().__init__(str(error))
        vars(self)["exit_code"] = error.exit_code  # click calls it a class variable


class Commands(click.Group):
    """The commands, with every refusal as one line on standard error."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and leave with its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            code = _INTERRUPTED
        except click.ClickException as error:
            click.echo(f"Error: {error.format_message()}", err=True)
            code = error.exit_code
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; turn our own errors into click's."""
        try:
            return super().invoke(ctx)
        except OddlotError as error:
            raise _Refusal(error) from error
        except BrokenPipeError:
            # Whoever read our output has seen enough; Python must not write to him at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return None


def _example(*commands: str) -> str:
    return "\b\nExample:\n" + "".join(f"    {command}\n" for command in commands)


def _split_pairs(
    _: click.Context, option: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    wrong = next((pair for pair in split if not pair[0] or not pair[2]), None)
    if wrong is not None:
        raise click.BadParameter(f"must be ROLE=COLUMN; got {''.join(wrong)!r}")
    return {role: column for role, _, column in split}


@click.group(
    cls=Commands,
    epilog=_example("oddlot detect orders.csv --out alerts.jsonl"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s", help="Print the version.")
@click.help_option("-h", "--help", help="Print this text.")
def main() -> None:
    """Find inventory anomalies in a shop's order lines, with a stated number of false alarms."""


_help = click.help_option("-h", "--help", help="Print this text.")
_set = click.option(
    "settings",
    "--set",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting of the config, such as time.lateness=1m; may be repeated.",
)


@main.command(
    epilog=_example(
        "oddlot detect orders.csv --out alerts.jsonl",
        "oddlot detect orders.csv --only low_quantity --out rows.csv",
        "oddlot detect orders.csv --map quantity=Quantity --budget 0.5",
        "oddlot detect orders.csv --report report.html",
    )
)
@click.argument("files", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="Write alerts to this .jsonl, .csv or .parquet.")
@click.option(
    "--only",
    multiple=True,
    metavar="TYPE",
    help="Run this detector and no other; may be repeated.",
)
@click.option(
    "columns",
    "--map",
    multiple=True,
    metavar="ROLE=COLUMN",
    callback=_split_pairs,
    help="Which column holds what, such as quantity=Qty; may be repeated.",
)
@click.option(
    "--dates",
    type=click.Choice(["auto", "iso", "month-first", "day-first"]),
    help="How to read dates such as 1/2/2011.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="False alerts a day that you accept over the whole catalogue.",
)
@click.option(
    "--rejects", metavar="FILE", help="Write what could not be read to this .jsonl, with reasons."
)
@click.option(
    "--report",
    metavar="FILE",
    help="Write a page of the worst incidents, with charts, to this .html; reads FILES twice.",
)
@click.option("--config", metavar="FILE", help="Take the settings from this shop.toml.")
@_set
@_help
def detect(
    files: tuple[str, ...],
    out: str | None,
    only: tuple[str, ...],
    columns: dict[str, str],
    dates: str | None,
    budget: float | None,
    rejects: str | None,
    report: str | None,
    config: str | None,
    settings: tuple[str, ...],
) -> None:
    """Read order files once and print what is odd in them.

    FILES are CSV, JSON Lines, Parquet or XLSX, plain or packed (.gz, .zst); - is standard input.
    Several are read one after the other, so name them in the order of time. A terminal gets
    the top findings; a pipe gets every alert as JSON Lines.
    """
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    import time

    from oddlot import config as configs
    from oddlot import detect as detecting
    from oddlot import terminal

    given = configs.load(config) if config else configs.from_text("", "oddlot detect")
    chosen = detecting.choose(
        configs.apply(given, settings),
        only,
        columns,
        dates,
        budget,
    )
    if out is None and not sys.stdout.isatty():
        out = "-"
    with terminal.DetectBar() as bar:
        now_us = time.time_ns() // 1000
        summary = detecting.detect(files, chosen, out, bar, now_us, rejects, report)
    if out != "-" and sys.stdout.isatty():
        terminal.show_findings(summary, chosen.alerts.language)
    terminal.show_summary(summary)
    if report is not None:
        click.echo(f"{report}: the report", err=True)


@main.command(epilog=_example("oddlot run shop.toml"))
@click.argument("config", metavar="SHOP.TOML")
@click.option(
    "--start-fresh",
    is_flag=True,
    help="Set the saved state aside in quarantine/ and begin with none; alerts stay.",
)
@_set
@_help
def run(config: str, start_fresh: bool, settings: tuple[str, ...]) -> None:
    """Watch a folder of growing log files for ever.

    Alerts are printed as they come, as JSON Lines unless to a terminal. Ctrl-C saves a checkpoint;
    the next run goes on exactly there.
    """
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    from oddlot import config as configs
    from oddlot import terminal, watch

    with terminal.LiveView() as view:
        watch.watch(configs.apply(configs.load(config), settings), view, fresh=start_fresh)


@main.command(epilog=_example("oddlot check shop.toml"))
@click.argument("config", metavar="SHOP.TOML")
@_set
@_help
def check(config: str, settings: tuple[str, ...]) -> None:
    """Check a config, and print what it says to do."""
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    from oddlot import config as configs
    from oddlot import described, terminal

    terminal.show_lines(described.describe(configs.apply(configs.load(config), settings)))


@main.command(
    epilog=_example(
        'oddlot query shop.toml "SELECT sku, count(*) FROM orders GROUP BY sku ORDER BY 2 DESC"'
    )
)
@click.argument("archive", metavar="SHOP.TOML|FOLDER")
@click.argument("sql")
@click.option(
    "form",
    "--format",
    type=click.Choice(["auto", "table", "csv", "json"]),
    default="auto",
    show_default=True,
    help="How to print; auto is a table on a terminal, else CSV.",
)
@_help
def query(archive: str, sql: str, form: str) -> None:
    """Ask the archive in SQL: the views are orders and alerts.

    Name the config, or the archive's folder. The dialect is DuckDB's; one SELECT, read only.
    """
    from oddlot import archive as archives
    from oddlot import described, terminal

    terminal.show_rows(archives.query(described.archive_folder(archive), sql), form)


@main.command(epilog=_example("oddlot replay orders.csv --to logs --rate 5000"))
@click.argument("file")
@click.option("--to", required=True, metavar="DIR", help="Folder for the log files.")
@click.option("--rate", type=float, metavar="N", help="Lines a second.")
@click.option("--speed", type=float, metavar="N", help="Event time over real time; 60 is fast.")
@click.option(
    "form",
    "--format",
    type=click.Choice(["auto", "csv", "jsonl"]),
    default="auto",
    show_default=True,
    help="Of the log files; auto is that of FILE.",
)
@click.option("--disorder", default="0s", show_default=True, help="How late a line may come.")
@click.option("--duplicates", type=float, default=0.0, metavar="SHARE", help="Lines sent twice.")
@click.option("--rotate", default=64.0, show_default=True, metavar="MB", help="Size of a file.")
@click.option("--rename", is_flag=True, help="Rotate orders.log to orders.log.1, and so on.")
@click.option("--seed", default=1, show_default=True, help="Of disorder and duplicates.")
@_help
def replay(
    file: str,
    to: str,
    rate: float | None,
    speed: float | None,
    form: str,
    disorder: str,
    duplicates: float,
    rotate: float,
    rename: bool,
    seed: int,
) -> None:
    """Turn an orders file into growing, rotating log files.

    With neither --rate nor --speed it goes as fast as possible.
    """
    from oddlot import replay as replaying
    from oddlot import terminal

    options = replaying.Replay(
        file=file,
        to=to,
        speed=speed or 0.0,
        rate=rate or 0.0,
        format=form,
        rotation="rename" if rename else "number",
        rotate_bytes=int(rotate * 1e6),
        disorder=disorder,
        duplicates=duplicates,
        seed=seed,
    )
    with terminal.ReplayView() as view:
        replaying.replay(options, progress=view)


@main.command(epilog=_example("oddlot simulate --out shop --days 30 --seed 7"))
@click.option("--out", required=True, metavar="DIR", help="Folder for orders and labels.csv.")
@click.option("--seed", default=1, show_default=True, help="Another seed is another shop.")
@click.option("--days", default=60, show_default=True, help="Calendar days.")
@click.option("--skus", default=2000, show_default=True, help="Products.")
@click.option("--lines", default=2000, show_default=True, help="Order lines on an average day.")
@click.option("--faults", default=1.0, show_default=True, help="Faults on an average day.")
@click.option(
    "form",
    "--format",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="Of the orders.",
)
@_help
def simulate(
    out: str, seed: int, days: int, skus: int, lines: int, faults: float, form: str
) -> None:
    """Make up a shop's orders, with labelled faults.

    Zipf-like products, trading hours, weekdays, season, wholesale orders, pack sizes, returns and
    write-offs; the same seed gives the same files on any machine.
    """
    from oddlot import simulate as simulating
    from oddlot import terminal

    shop = simulating.Shop(
        seed=seed, days=days, skus=skus, lines_per_day=lines, faults_per_day=faults
    )
    terminal.show_written(simulating.write_shop(shop, out, form))


@main.command(epilog=_example("oddlot demo --seconds 5"))
@click.argument("file", required=False)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=25.0,
    show_default=True,
    help="How long the replay takes.",
)
@click.option("--to", metavar="DIR", help="Keep the log files, state, alerts and archive here.")
@click.option("--seed", default=1, show_default=True, help="Of the simulated shop.")
@_help
def demo(file: str | None, seconds: float, to: str | None, seed: int) -> None:
    """Watch the engine at work on a shop with planted faults.

    The shop is simulated, unless you name a FILE. Its orders are replayed, sped up, to log files
    that grow; the engine follows them, and at the end you see which faults it found and what that
    cost in false alarms.
    """
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    from oddlot import demo as demonstration
    from oddlot import terminal

    with demonstration.Demo(file, to, seconds, seed) as it:
        terminal.show_lines(it.story)
        with terminal.LiveView(plain=True, total=it.lines, mark=it.mark) as view:
            ended = it.run(view)
        terminal.show_faults(ended)
