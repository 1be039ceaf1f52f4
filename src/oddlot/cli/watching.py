"""The commands that look for what is odd, and ask what was found."""

from __future__ import annotations

import sys

import click

from oddlot.cli.group import example, help_option, main, set_option, split_pairs


@main.command(
    epilog=example(
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
    callback=split_pairs,
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
@set_option
@help_option
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


@main.command(epilog=example("oddlot run shop.toml"))
@click.argument("config", metavar="SHOP.TOML")
@click.option(
    "--start-fresh",
    is_flag=True,
    help="Set the saved state aside in quarantine/ and begin with none; alerts stay.",
)
@click.option(
    "--engine",
    type=click.Choice(["embedded", "flink"]),
    default="embedded",
    show_default=True,
    help="Where the detectors run: in this process, or on a Flink cluster.",
)
@set_option
@help_option
def run(config: str, start_fresh: bool, engine: str, settings: tuple[str, ...]) -> None:
    """Watch a folder of growing log files for ever.

    Alerts are printed as they come, as JSON Lines unless to a terminal. Ctrl-C saves a checkpoint;
    the next run goes on exactly there.
    """
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    from oddlot import config as configs
    from oddlot import terminal, watch

    chosen = configs.apply(configs.load(config), settings)
    if engine == "flink":
        with terminal.LiveView() as view:
            watch.watch_flink(
                chosen,
                lambda hosted: list(map(view.show_alert, hosted.newest)),
                lambda line: click.echo(line, err=True),
                fresh=start_fresh,
            )
        return
    with terminal.LiveView() as view:
        watch.watch(chosen, view, fresh=start_fresh)


@main.command(epilog=example("oddlot check shop.toml"))
@click.argument("config", metavar="SHOP.TOML")
@set_option
@help_option
def check(config: str, settings: tuple[str, ...]) -> None:
    """Check a config, and print what it says to do."""
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    from oddlot import config as configs
    from oddlot import described, terminal

    terminal.show_lines(described.describe(configs.apply(configs.load(config), settings)))


@main.command(
    epilog=example(
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
@help_option
def query(archive: str, sql: str, form: str) -> None:
    """Ask the archive in SQL: the views are orders and alerts.

    Name the config, or the archive's folder. The dialect is DuckDB's; one SELECT, read only.
    """
    from oddlot import archive as archives
    from oddlot import described, terminal

    terminal.show_rows(archives.query(described.archive_folder(archive), sql), form)
