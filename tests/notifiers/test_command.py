"""A command gets the alert as data only, ends in time, and says by its exit code what became."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from crashes import alert
from loopback.fixtures import wait_until
from notifiers.test_contract import build, message
from oddlot.errors import ConfigError
from oddlot.notifiers.contract import Later, Refused


@pytest.mark.parametrize(("code", "kind"), [(65, Refused), (1, Later), (75, Later), (127, Later)])
def test_exit_codes_are_tried_again_or_given_up(code: int, kind: type[Exception]) -> None:
    runner = build("command", {"run": ["sh", "-c", f"exit {code}"]}).open()
    with pytest.raises(kind, match=f"^sh: exit code {code}$"):
        runner.send(message(alert(1)))


def test_a_command_that_is_not_there_is_tried_again() -> None:
    runner = build("command", {"run": ["/nowhere/program"]}).open()
    with pytest.raises(Later, match=r"^program: No such file or directory$"):
        runner.send(message(alert(1)))


def test_one_that_takes_too_long_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid}; wait"
    runner = build("command", {"run": ["sh", "-c", script], "timeout": "500ms"}).open()
    began = time.monotonic()
    with pytest.raises(Later, match=r"^sh: must end within 0\.5 s; was stopped$"):
        runner.send(message(alert(1)))
    assert time.monotonic() - began < 10
    wait_until(lambda: _is_gone(int(pid.read_text())), "its child still runs")


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" in status.read_text()


def test_nothing_in_an_alert_is_run(tmp_path: Path) -> None:
    got = tmp_path / "got"
    evil = f"$(touch {tmp_path}/evil) `touch {tmp_path}/evil`; touch {tmp_path}/evil"
    script = 'cat > "$1"; printf %s "$ODDLOT_TEXT" >> "$1"'
    runner = build("command", {"run": ["sh", "-c", script, evil, str(got)]}).open()
    runner.send(message(alert(1, text=evil, sku=evil)))
    assert not (tmp_path / "evil").exists()
    assert got.read_text().endswith(evil)


def test_one_that_does_not_read_is_no_error() -> None:
    runner = build("command", {"run": [sys.executable, "-S", "-c", "pass"]}).open()
    runner.send(message(alert(1, description="x" * 200_000)))


def test_a_command_must_be_named() -> None:
    for run in ([], [""]):
        with pytest.raises(ConfigError, match="run must"):
            build("command", {"run": run})
    with pytest.raises(ConfigError, match="timeout must"):
        build("command", {"run": ["true"], "timeout": "soon"})
