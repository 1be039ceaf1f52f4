"""The commands as a user meets them: their examples, exit codes, and what goes where."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import generate
from oddlot import cli
from oddlot.simulate import Shop, simulate
from oddlot.store import Store

PROGRAM = [sys.executable, "-m", "oddlot"]
LASTING = ("run ", "web ")  # until the user ends it
SHOP = """
[source]
path = "logs"
[time]
idle = "1s"
[state]
checkpoint_every = "1s"
[archive]
path = "archive"
[budget]
false_alerts_per_day = 20
[[channels]]
type = "command"
name = "phone"
run = ["true"]
"""
AGENT = """
{"kinesis.endpoint": "http://127.0.0.1:9", "kinesis.region": "us-east-1", "flows": [
    {"filePattern": "logs/*.csv", "kinesisStream": "orders"}]}
"""


@pytest.fixture(scope="module")
def orders() -> bytes:
    pieces, _ = simulate(Shop(days=6, skus=40, lines_per_day=300, faults_per_day=0))
    return b"".join(pieces.text())


@pytest.fixture(scope="module")
def faulty() -> bytes:
    pieces, _ = simulate(Shop(seed=5, days=40, skus=60, lines_per_day=120, faults_per_day=3))
    return b"".join(pieces.text())


@pytest.fixture
def folder(orders: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with orders, a config and its folder of logs."""
    monkeypatch.chdir(tmp_path)
    for name in ("logs", "archive"):
        (tmp_path / name).mkdir()
    (tmp_path / "orders.csv").write_bytes(orders)
    (tmp_path / "logs" / "orders-000001.csv").write_bytes(orders)
    (tmp_path / "shop.toml").write_text(SHOP, "utf-8")
    (tmp_path / "agent.json").write_text(AGENT, "utf-8")
    return tmp_path


def call(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code == code, result.output
    return result


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def interrupt(program: subprocess.Popen[str], *, talks: bool = False) -> tuple[str, str]:
    """Wait for a first line of output, or of talk, press Ctrl-C, and return what there was."""
    with program:
        assert program.stdout
        assert program.stderr
        first = (program.stderr if talks else program.stdout).readline()
        program.send_signal(signal.SIGINT)
        rest, errors = program.stdout.read(), program.stderr.read()
        assert program.wait() == 0, errors
    return (rest, first + errors) if talks else (first + rest, errors)


def examples() -> Iterator[str]:
    for _, command in generate.walk(cli.main):
        text = generate.help_text(command).partition("Example:")[2]
        yield from re.findall(r"^\s+oddlot (.*)$", text, re.MULTILINE)


def needs_flink(words: str) -> bool:
    """Tell whether an example needs Flink installed: tests/flink runs those."""
    return words.startswith("flink ") and not words.endswith("--list")


@pytest.mark.parametrize("words", sorted({one for one in examples() if not needs_flink(one)}))
@pytest.mark.usefixtures("folder")
def test_every_example_runs(words: str) -> None:
    if words.startswith("notify retry"):  # which needs what a run has stored
        interrupt(start(["run", "shop.toml"]))
    if words.startswith(LASTING):
        interrupt(start(shlex.split(words)))
    elif words == "agent agent.json":  # it has no results to print, only talk
        interrupt(start(shlex.split(words)), talks=True)
    else:
        call(*shlex.split(words))


@pytest.mark.usefixtures("folder")
def test_every_command_has_an_example_that_calls_it() -> None:
    called = {words.split()[0] for words in examples()}
    assert called == set(cli.main.commands)


@pytest.mark.usefixtures("folder")
def test_a_pipe_gets_every_alert_as_json_lines_and_nothing_else(faulty: bytes) -> None:
    Path("orders.csv").write_bytes(faulty)
    result = call("detect", "orders.csv", "--budget", "20")
    alerts = [json.loads(line) for line in result.stdout.splitlines()]
    assert alerts
    assert {"time", "sku", "type", "score", "incident", "severity"} <= set(alerts[0])
    assert f"{len(alerts)} alert" in result.stderr


def test_standard_input_is_read(folder: Path, orders: bytes) -> None:
    words = ["detect", "-", "--only", "low_quantity"]
    piped = subprocess.run([*PROGRAM, *words], input=orders, capture_output=True, check=True)
    (folder / "rows.jsonl").unlink(missing_ok=True)
    call("detect", "orders.csv", "--only", "low_quantity", "--out", "rows.jsonl")
    assert piped.stdout == (folder / "rows.jsonl").read_bytes()


def test_a_terminal_gets_a_table_and_no_json(folder: Path, faulty: bytes) -> None:
    (folder / "orders.csv").write_bytes(faulty)
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    words = [*PROGRAM, "detect", str(folder / "orders.csv"), "--budget", "20"]
    program = subprocess.Popen(words, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # how Linux says that the other end was closed
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert program.wait() == 0
    text = shown.decode()
    assert re.search(r"at stake +real +when +SKU +what", text)
    assert "Something this odd turns up" in " ".join(text.split())
    assert "lines read in" in text
    assert '{"' not in text


def test_a_reader_who_has_seen_enough_is_no_error(folder: Path) -> None:
    words = shlex.join([*PROGRAM, "detect", str(folder / "orders.csv"), "--only", "low_quantity"])
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | head -n 1"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert piped.returncode == 0, piped.stderr
    assert json.loads(piped.stdout)["Quantity"] < 10
    assert "Error" not in piped.stderr
    assert "Traceback" not in piped.stderr


def test_an_interrupted_run_goes_on_where_it_stopped(folder: Path) -> None:
    first, _ = interrupt(start(["run", "shop.toml"]))
    alerts = [json.loads(line) for line in first.splitlines()]
    kept = Store.read(folder / "state").counts()["alerts_kept"]
    with (folder / "logs" / "orders-000001.csv").open("ab") as log:
        log.write(b"999999,NEW,Typo,90000,2024-01-13 20:59:00,1.5,17850,Spain\n")
    second, _ = interrupt(start(["run", "shop.toml"]))
    assert [json.loads(line)["sku"] for line in second.splitlines()] == ["NEW"]
    assert len({alert["id"] for alert in alerts}) == len(alerts) == kept


def damage(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "oddlot.sqlite").write_bytes(b"no database at all" * 100)


def lock(folder: Path) -> Store:
    return Store.open(folder / "state")


REFUSALS: list[tuple[str, int, str]] = [
    ("detect", 2, "Missing argument 'FILES...'"),
    ("detect orders.csv --colour", 2, "No such option"),
    ("detect orders.csv --map quantity", 2, "must be ROLE=COLUMN; got 'quantity'"),
    ("detect orders.csv --map sku=Nothing", 2, "orders.csv: no column 'Nothing' for sku"),
    ("detect orders.csv --set time.lateness=soon", 2, "must be a duration"),
    ("detect orders.csv --out found.txt", 2, "must end in one of: .jsonl, .csv, .parquet"),
    ("detect orders.csv orders.csv", 2, "must be named once"),
    ("detect nothing.csv", 2, "there is no such file"),
    ("detect orders.csv --only quantity_spik", 2, "did you mean quantity_spike?"),
    ("detect orders.csv --config nothing.toml", 2, "nothing.toml: no such file"),
    ("check nothing.toml", 2, "nothing.toml: no such file"),
    ("run nothing.toml", 2, "nothing.toml: no such file"),
    ('query nothing "SELECT 1"', 2, "nothing: must be an archive's folder"),
    ('query shop.toml "DROP TABLE orders"', 2, "must be one SELECT"),
    ("replay nothing.csv --to logs", 2, "there is no such file"),
    ("replay orders.csv --to more --rate 1 --speed 1", 2, "give speed or rate, not both"),
    ("simulate --out shop --skus 0", 2, "skus must be 1 to"),
    ("demo --to .", 2, "must be a new or an empty folder"),
    ("watch", 2, "No such command 'watch'"),
]


@pytest.mark.parametrize(("words", "code", "said"), REFUSALS, ids=[one[0] for one in REFUSALS])
@pytest.mark.usefixtures("folder")
def test_a_refusal_is_one_line_with_its_exit_code(words: str, code: int, said: str) -> None:
    result = call(*shlex.split(words), code=code)
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line


@pytest.mark.parametrize(("prepare", "code"), [(lock, 3), (damage, 4)])
def test_a_state_that_cannot_be_used_has_its_own_exit_code(
    prepare: Callable[[Path], Store | None], code: int, folder: Path
) -> None:
    held = prepare(folder)
    result = call("run", "shop.toml", code=code)
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: ")
    if held is not None:
        held.close()


@pytest.mark.usefixtures("folder")
def test_check_says_what_was_understood() -> None:
    text = call("check", "shop.toml", "--set", "budget.false_alerts_per_day=3").stdout
    assert re.search(r"source +.*logs \(files, 1 file\)", text)
    assert re.search(r"sku +StockCode", text)
    assert re.search(r"event +\(none\)", text)
    assert re.search(r"quantity_spike \(0\.16\d* a day\): memory", text)


@pytest.mark.usefixtures("folder")
def test_a_query_is_answered_in_the_format_that_was_asked_for() -> None:
    sql = "SELECT 1 AS one, 'a,b' AS text"
    assert list(csv.reader(io.StringIO(call("query", "archive", sql).stdout))) == [
        ["one", "text"],
        ["1", "a,b"],
    ]
    shown = call("query", "shop.toml", sql, "--format", "json").stdout
    assert json.loads(shown) == {"one": 1, "text": "a,b"}
    assert re.search(r"one +text", call("query", "archive", sql, "--format", "table").stdout)


def test_a_replayed_shop_is_the_same_shop(folder: Path, orders: bytes) -> None:
    call("replay", "orders.csv", "--to", "more", "--rotate", "0.02")
    files = sorted((folder / "more").iterdir())
    assert len(files) > 2
    header, *_ = orders.splitlines(keepends=True)
    assert header + b"".join(f.read_bytes().removeprefix(header) for f in files) == orders


def test_a_demo_of_a_file_scores_every_line(folder: Path, orders: bytes) -> None:
    result = call("demo", "orders.csv", "--seconds", "1", "--to", "kept")
    lines = len(orders.splitlines()) - 1
    assert f"{lines:,} lines scored in" in result.stdout
    assert {"logs", "state", "alerts", "shop.toml"} <= {p.name for p in (folder / "kept").iterdir()}


def test_no_argument_prints_the_help() -> None:
    assert "Commands:" in call(code=2).output
