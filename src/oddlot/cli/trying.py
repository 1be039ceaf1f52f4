"""The commands that make orders up, or let them happen again."""

from __future__ import annotations

import click

from oddlot.cli.group import example, help_option, main


@main.command(epilog=example("oddlot replay orders.csv --to logs --rate 5000"))
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
@help_option
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


@main.command(epilog=example("oddlot simulate --out shop --days 30 --seed 7"))
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
@help_option
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


@main.command(epilog=example("oddlot demo --seconds 5"))
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
@click.option("--no-browser", is_flag=True, help="Only print the dashboard's link.")
@help_option
def demo(file: str | None, seconds: float, to: str | None, seed: int, no_browser: bool) -> None:
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
        it.open_dashboard(opens_browser=not no_browser)
        terminal.show_lines(it.story)
        with terminal.LiveView(plain=True, total=it.lines, mark=it.mark) as view:
            ended = it.run(view)
        terminal.show_faults(ended)
        it.stay(lambda line: click.echo(line, err=True))
