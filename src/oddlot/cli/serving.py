"""The commands that show what was found, and tell people."""

from __future__ import annotations

import time

import click

from oddlot.cli.group import example, help_option, main, set_option


@main.command(epilog=example("oddlot web shop.toml"))
@click.argument("config", metavar="SHOP.TOML")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Instead of the config's; 0 takes a free one.",
)
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@set_option
@help_option
def web(config: str, port: int | None, no_browser: bool, settings: tuple[str, ...]) -> None:
    """Show incidents, products and the state of the engine in a browser.

    Reads what `oddlot run` has stored, also while it runs, and changes none of it. The link is good
    for one browser; opening it prints the next one.
    """
    from oddlot.kernels import prepare_kernels

    prepare_kernels()
    from oddlot import config as configs
    from oddlot.web import serve

    chosen = configs.apply(configs.load(config), settings)
    serve.serve(chosen, port=port, opens_browser=not no_browser, say=click.echo)


@main.group(epilog=example("oddlot notify test shop.toml phone"))
@help_option
def notify() -> None:
    """Try the channels that alerts go out by, and see how they do."""


@notify.command("test", epilog=example("oddlot notify test shop.toml phone"))
@click.argument("config", metavar="SHOP.TOML")
@click.argument("channel")
@set_option
@help_option
def notify_test(config: str, channel: str, settings: tuple[str, ...]) -> None:
    """Send a made-up alert by one channel, now."""
    from oddlot import config as configs
    from oddlot import delivery

    chosen = configs.apply(configs.load(config), settings)
    click.echo(delivery.send_test(chosen, channel, time.time_ns() // 1000), err=True)


@notify.command("list", epilog=example("oddlot notify list shop.toml"))
@click.argument("config", metavar="SHOP.TOML")
@set_option
@help_option
def notify_list(config: str, settings: tuple[str, ...]) -> None:
    """Tell how each channel does: what is pending, sent, given up, and why."""
    from oddlot import config as configs
    from oddlot import delivery

    for line in delivery.list_channels(configs.apply(configs.load(config), settings)):
        click.echo(line)


@notify.command("retry", epilog=example("oddlot notify retry shop.toml phone"))
@click.argument("config", metavar="SHOP.TOML")
@click.argument("channel")
@set_option
@help_option
def notify_retry(config: str, channel: str, settings: tuple[str, ...]) -> None:
    """Let a channel try once more what it gave up."""
    from oddlot import config as configs
    from oddlot import delivery

    chosen = configs.apply(configs.load(config), settings)
    click.echo(delivery.retry(chosen, channel, time.time_ns() // 1000), err=True)
