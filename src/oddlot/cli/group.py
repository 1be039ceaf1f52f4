"""The group of all commands, and what they share."""

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


def example(*commands: str) -> str:
    """Return commands as the end of a help text."""
    return "\b\nExample:\n" + "".join(f"    {command}\n" for command in commands)


def split_pairs(
    _: click.Context, option: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, str]:
    """Turn an option's texts, such as quantity=Qty, into a dict."""
    split = [pair.partition("=") for pair in pairs]
    wrong = next((pair for pair in split if not pair[0] or not pair[2]), None)
    if wrong is not None:
        raise click.BadParameter(f"must be {option.metavar}; got {''.join(wrong)!r}")
    return {role: column for role, _, column in split}


@click.group(
    cls=Commands,
    epilog=example("oddlot detect orders.csv --out alerts.jsonl"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s", help="Print the version.")
@click.help_option("-h", "--help", help="Print this text.")
def main() -> None:
    """Find inventory anomalies in a shop's order lines, with a stated number of false alarms."""


help_option = click.help_option("-h", "--help", help="Print this text.")
set_option = click.option(
    "settings",
    "--set",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting of the config, such as time.lateness=1m; may be repeated.",
)
