"""The dashboard of the demonstration: there at once, beside it, and gone with it."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from oddlot.demo import Demo
from web.stores import write_config

_ORDERS = b"InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice\n1,A,2,2024-01-01 10:00,3\n"


def _status(link: str) -> int:
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        answer.read()
        return answer.status


def test_the_dashboard_is_there_before_the_engine_and_gone_after_it(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_bytes(_ORDERS)
    with Demo(str(orders), str(tmp_path / "demo"), 5.0, 1) as demo:
        link = demo.open_dashboard(opens_browser=False)
        assert any(link in line for line in demo.story)
        # It waits in the socket until the process is up; the link is good once.
        assert [_status(link), _status(link)] == [303, 401]
    parts = urlsplit(link)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5)


def test_a_demo_without_a_person_does_not_stay(tmp_path: Path) -> None:
    orders = tmp_path / "orders.csv"
    orders.write_bytes(_ORDERS)
    with Demo(str(orders), str(tmp_path / "demo"), 5.0, 1) as demo:
        demo.open_dashboard(opens_browser=False)
        said: list[str] = []
        demo.stay(said.append)  # standard input is no terminal here
        assert not said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_in_good_order_when_asked(number: int, tmp_path: Path) -> None:
    place = write_config(tmp_path)
    command = [sys.executable, "-m", "oddlot", "web", str(place), "--port", "0", "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        link = re.search(r"http\S+", child.stdout.readline())
        assert link
        assert _status(link[0]) == 303
        # The next link is printed when one was used.
        rest = [child.stdout.readline() for _ in range(2)]
        assert any("/login?key=" in line for line in rest)
        began = time.monotonic()
        child.send_signal(number)
        assert child.wait(timeout=30) in (0, -number)
        assert time.monotonic() - began < 20
        assert "Traceback" not in child.stdout.read()


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path) -> None:
    place = write_config(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "oddlot", "web", str(place), "--port", port]
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == 2
    assert told.stderr == (
        f"Error: web: port must be free at 127.0.0.1; got {port}: Address already in use."
        " Choose another: --port 0 takes a free one\n"
    )
