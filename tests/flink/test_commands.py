"""The commands of Flink, as their help texts show them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oddlot.engine.flink import home
from oddlot.simulate import Shop, simulate

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("flink")]
PROGRAM = [sys.executable, "-m", "oddlot", "flink"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pieces, _ = simulate(Shop(days=4, skus=30, lines_per_day=100, faults_per_day=0))
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "orders.csv").write_bytes(b"".join(pieces.text()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_an_install_over_what_is_there_says_so_and_does_nothing() -> None:
    done = subprocess.run([*PROGRAM, "install"], capture_output=True, text=True, check=True)
    assert done.stderr == f"{home.default_folder()}: Flink 2.3.0 is there already\n"


def test_the_example_of_sql_runs_inside_the_command(folder: Path) -> None:
    words = "sql orders_files alerts_files low_quantity --set orders.path=orders"
    done = subprocess.run(
        [*PROGRAM, *shlex.split(words), "--set", "alerts.path=alerts"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "has ended" in done.stderr
    written = [file.read_text() for file in (folder / "alerts").glob("part-*")]
    small = (folder / "orders" / "orders.csv").read_text().splitlines()[1:]
    assert sum(text.count("\n") for text in written) == sum(
        int(line.split(",")[3]) < 10 for line in small
    )


def test_a_shop_runs_on_flink_inside_the_command_to_the_end_of_its_files(folder: Path) -> None:
    text = '[source]\npath = "orders"\n[flink]\ncluster = "local"\nends = true\n'
    rules = '[[detectors]]\ntype = "low_quantity"\n[[detectors]]\ntype = "price_error"\n'
    (folder / "shop.toml").write_text(text + "[budget]\nfalse_alerts_per_day = 5000\n" + rules)
    oddlot = [sys.executable, "-m", "oddlot"]
    hosted = subprocess.run(
        [*oddlot, "run", "shop.toml", "--engine", "flink"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert hosted.returncode == 0, hosted.stderr
    assert "Flink runs it as job " in hosted.stderr
    words = ["detect", str(folder / "orders" / "orders.csv"), "--config", "shop.toml"]
    subprocess.run([*oddlot, *words, "--out", "out.csv"], check=True, capture_output=True)
    alone = subprocess.run(
        [*oddlot, *words, "--out", "-"], capture_output=True, text=True, check=True
    )
    assert hosted.stdout == alone.stdout
    rows = [
        line
        for file in (folder / "alerts" / "flink" / "rows.low_quantity").glob("**/part-*")
        for line in file.read_text().splitlines()
    ]
    assert sorted(rows) == sorted((folder / "out.low_quantity.csv").read_text().splitlines()[1:])


def test_a_statement_that_flink_refuses_is_one_line(folder: Path) -> None:
    (folder / "wrong.sql").write_text(
        "CREATE TABLE a (x INT) WITH ('connector' = 'aws-lambda'); INSERT INTO a VALUES (1);"
    )
    done = subprocess.run(
        [*PROGRAM, "sql", "wrong.sql"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Flink: the job failed: ")
    assert done.stderr.count("\n") == 1
    assert "a connector's jar is missing" in done.stderr


@pytest.mark.usefixtures("folder")
def test_a_cluster_starts_says_where_its_dashboard_is_and_ends_at_ctrl_c() -> None:
    words = ["start", "--to", "cluster", "--port", "0"]
    with subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout
        assert program.stderr
        first = program.stdout.readline()
        program.send_signal(signal.SIGINT)
        errors = program.stderr.read()
        assert program.wait() == 0, errors
    assert first.startswith("http://127.0.0.1:")
    left = [
        entry
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and str(Path.cwd() / "cluster").encode() in _environment_of(entry)
    ]
    assert not left


def _environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes() if int(process.name) != os.getpid() else b""
    except OSError:
        return b""
