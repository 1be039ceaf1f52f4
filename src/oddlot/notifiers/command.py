"""Alerts to a program on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from oddlot.durations import Duration, parse_duration
from oddlot.errors import ConfigError
from oddlot.notifiers.contract import SENT, Later, Message, Notifier, Refused, Reply

_BAD_DATA = 65  # EX_DATAERR of sysexits.h


class Command(Notifier, frozen=True, kw_only=True):
    """Alerts to a program on this machine: one run each, the alert as JSON on its standard input.

    ODDLOT_ID is the same at each try; ODDLOT_TEXT the sentence. Exit code 0: sent; 65: given up;
    any other, or too long a run: tried again. No shell is between, so nothing in an alert is a
    command.
    """

    run: Annotated[
        tuple[str, ...], Meta(min_length=1, description="The program and its arguments.")
    ]
    timeout: Annotated[
        Duration, Meta(description="After so long it is stopped, and all that it started.")
    ] = "30s"

    def __post_init__(self) -> None:
        if not self.run[0]:
            raise ConfigError("run must begin with a program; got ''")
        try:
            parse_duration(self.timeout)
        except ConfigError as error:
            raise ConfigError(f"timeout {error}") from None

    def open(self) -> Runner:
        """Make ready to send."""
        return Runner(self)


class Runner:
    """Runs one program."""

    def __init__(self, notifier: Command) -> None:
        self._run = notifier.run
        self._timeout_s = parse_duration(notifier.timeout) / 1e6

    def send(self, message: Message) -> Sequence[Reply]:
        """Run it with the alert; see `Sender.send`."""
        (row,) = message.rows
        name = os.path.basename(self._run[0])  # the program's, as text
        text = message.alerts[0].text.replace("\0", " ")
        try:
            child = subprocess.Popen(  # noqa: S603  # the program that the config names
                self._run,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "ODDLOT_ID": message.id, "ODDLOT_TEXT": text},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or "cannot be started"
            raise Later(f"{name}: {words}") from None
        try:
            child.communicate(msgspec.json.encode(row) + b"\n", timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            raise Later(f"{name}: must end within {self._timeout_s:g} s; was stopped") from None
        finally:
            _end(child)
        if child.returncode == _BAD_DATA:
            raise Refused(f"{name}: exit code {_BAD_DATA}")
        if child.returncode:
            raise Later(f"{name}: exit code {child.returncode}")
        return [SENT]

    def close(self) -> None:
        """Do nothing: each message has its own run."""


def _end(child: subprocess.Popen[bytes]) -> None:
    """Stop a program that still runs, with its children, and leave no dead one behind."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
