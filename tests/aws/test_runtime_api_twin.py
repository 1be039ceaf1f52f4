"""Our Runtime API drives Amazon's own runtime client: answers, errors, timeouts, exits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from loopback.fixtures import wait_until
from loopback.runtime_api import Function

HANDLER = """
import os, time

def handle(event, context):
    print("handled", event, flush=True)
    if event == "raise":
        raise ValueError("no")
    if event == "exit":
        os._exit(3)
    if event == "hang":
        time.sleep(600)
    if event == "large":
        return "x" * (7 << 20)
    return {
        "event": event,
        "process": os.getpid(),
        "function": context.invoked_function_arn,
        "request": context.aws_request_id,
        "left": context.get_remaining_time_in_millis(),
        "setting": os.environ["SETTING"],
        "home": os.environ.get("HOME"),
    }
"""


@pytest.fixture
def function(loopback: None, tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "handler.py").write_text(HANDLER, "utf-8")
    with Function(
        tmp_path,
        "handler.handle",
        log=tmp_path / "log.txt",
        environment={"SETTING": "set"},
        timeout_seconds=20,
    ) as running:
        yield running


def test_the_handler_gets_the_event_its_context_and_its_environment_alone(
    function: Function,
) -> None:
    result = function.invoke({"a": [1, "ü"]})
    assert not result.error
    assert result.payload["event"] == {"a": [1, "ü"]}
    assert result.payload["function"] == function.arn
    assert result.payload["request"] == result.request_id
    assert 10_000 < result.payload["left"] <= 20_000
    assert result.payload["setting"] == "set"
    assert result.payload["home"] is None
    assert "handled" in function.log.read_text("utf-8")


def test_an_error_is_told_apart_and_the_process_stays(function: Function) -> None:
    first = function.invoke("fine").payload["process"]
    failed = function.invoke("raise")
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == "ValueError"
    assert function.invoke("fine").payload["process"] == first
    assert function.counts["starts"] == 1


def test_a_process_that_exits_fails_its_invocation_and_a_new_one_comes(
    function: Function,
) -> None:
    failed = function.invoke("exit")
    assert failed.payload["errorType"] == "Runtime.ExitError"
    assert not function.invoke("fine").error
    assert function.counts["starts"] == 2


def test_a_timeout_kills_the_process(function: Function) -> None:
    process = function.invoke("fine").payload["process"]
    function._timeout_seconds = 0.2
    failed = function.invoke("hang")
    assert "Task timed out after 0.20 seconds" in failed.payload["errorMessage"]
    wait_until(lambda: not _is_alive(process), "the process lives on")
    function._timeout_seconds = 20
    assert not function.invoke("fine").error


def test_an_answer_of_more_than_six_mebibytes_is_refused(function: Function) -> None:
    assert function.invoke("large").payload["errorType"] == "Function.ResponseSizeTooLarge"


def test_two_invocations_run_at_once_in_two_processes(loopback: None, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, time\n"
        "def handle(event, context):\n"
        "    began = time.monotonic()\n"
        "    time.sleep(0.5)\n"
        "    return os.getpid(), began, time.monotonic()\n",
        "utf-8",
    )
    with (
        Function(tmp_path, "slow.handle", log=tmp_path / "log.txt", concurrency=2) as running,
        ThreadPoolExecutor(2) as pool,
    ):
        for result in pool.map(running.invoke, range(2)):
            assert not result.error
        ours = [result.payload for result in pool.map(running.invoke, range(2))]
    (one, began, ended), (other, other_began, other_ended) = ours
    assert one != other
    assert max(began, other_began) < min(ended, other_ended)


def test_a_handler_that_cannot_be_imported_is_an_error(loopback: None, tmp_path: Path) -> None:
    with Function(tmp_path, "nowhere.handle", log=tmp_path / "log.txt") as running:
        began = time.monotonic()
        failed = running.invoke({})
        assert failed.error == "Unhandled"
        assert time.monotonic() - began < 20


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
