"""What is read for the report, how often, and what is refused."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from oddlot.errors import ConfigError
from oddlot.inputs import open_chunks
from oddlot.report import series
from oddlot.report.series import Kept
from oddlot.streams.chunks import Chunk
from report.pages import Reader, run, shop


@pytest.fixture(scope="module")
def orders() -> bytes:
    return shop()


def through_a_pipe(orders: bytes, folder: Path) -> str:
    """Return the page of orders that can be read only once."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(orders,))
    writer.start()
    run([str(pipe)], folder / "piped.html")
    writer.join()
    return (folder / "piped.html").read_text("utf-8")


def test_a_pipe_gives_the_same_page_as_a_file(orders: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "pipe").write_bytes(orders)
    run([str(tmp_path / "file" / "pipe")], tmp_path / "report.html")
    assert through_a_pipe(orders, tmp_path) == (tmp_path / "report.html").read_text("utf-8")


def test_a_pipe_that_is_too_long_is_told_on_the_page(
    orders: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MOST_KEPT", 1000)
    text = Reader(through_a_pipe(orders, tmp_path)).text
    assert "could be read only once" in text
    assert "90,000" in text, "the lines that raised an alert are known all the same"
    assert "Units on one line" not in text


def test_what_is_kept_comes_again_as_it_came() -> None:
    chunks = [Chunk("-", 0, b"abc"), Chunk("-", 3, b"defg"), Chunk("-", 7, b"", end=True)]
    kept = Kept()
    assert list(kept.keep(chunks)) == chunks
    assert kept.is_whole
    again = list(kept.again())
    assert b"".join(chunk.data for chunk in again) == b"abcdefg"
    assert again[-1].end
    kept.close()


def test_a_file_that_has_gone_meanwhile_leaves_a_page_without_charts(
    orders: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oddlot.report import written

    file = tmp_path / "orders.csv"
    file.write_bytes(orders)

    def gone(path: str) -> object:
        file.unlink()
        return open_chunks(path)

    monkeypatch.setattr(written, "open_chunks", gone)
    run([str(file)], tmp_path / "report.html")
    text = Reader((tmp_path / "report.html").read_text("utf-8")).text
    assert "could not be read a second time" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("report.txt", "must end in one of: .html, .htm"),
        ("nowhere/report.html", "cannot be written"),
        ("orders.html", "must not be a file that is read"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_reading(
    name: str, said: str, orders: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "orders.html"
    file.write_bytes(orders)
    with pytest.raises(ConfigError, match=re.escape(said)):
        run([str(file)], tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"orders.html"}
    assert file.read_bytes() == orders


def test_a_run_that_fails_leaves_no_page(orders: bytes, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv.gz"
    file.write_bytes(b"\x1f\x8b broken" + orders)
    with pytest.raises(Exception, match="orders"):
        run([str(file)], tmp_path / "report.html")
    assert {path.name for path in tmp_path.iterdir()} == {"orders.csv.gz"}
