"""Runs one command and ends it, with all that it started, as soon as its own input ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading


def main(command: list[str], *, is_scratch: bool) -> int:
    """Run the command; whoever started this holds the other end of standard input.

    Args:
        command: what to run.
        is_scratch: the current folder is its own, and goes with it when it is told to end.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of the input is the one word to stop
    started = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    ended = threading.Event()
    threading.Thread(target=_watch_input, args=(started, ended), daemon=True).start()
    code = started.wait()
    _kill(started)  # what it left behind
    if is_scratch and ended.is_set():
        _remove_folder()
    return code


def _remove_folder() -> None:
    """Remove the folder that the command ran in: nobody may be left to do it."""
    shutil.rmtree(os.getcwd(), ignore_errors=True)


def _watch_input(started: subprocess.Popen[bytes], ended: threading.Event) -> None:
    while os.read(0, 1):
        pass
    ended.set()
    _kill(started)


def _kill(started: subprocess.Popen[bytes]) -> None:
    # The command began a session of its own, so its id is also that of its group. What it keeps
    # is thrown away with it: no reason to ask it politely.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(started.pid, signal.SIGKILL)


if __name__ == "__main__":
    given = sys.argv[1:]
    own = given[:1] == ["--scratch"]
    sys.exit(main(given[own:], is_scratch=own))
