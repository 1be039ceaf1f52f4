"""Log files for tests: lines, folders, and what a tail hands out of them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oddlot.streams.files import Chunk, Tail

HEADER = b"Invoice,StockCode,Quantity,InvoiceDate\r\n"
MINUTE_US = 60_000_000
LINES = b"".join(b"%d,85123A,6,2010-12-01 08:26\r\n" % number for number in range(536365, 536865))


def text_of(chunks: list[Chunk]) -> bytes:
    """Join what chunks hold."""
    return b"".join(bytes(chunk.data) for chunk in chunks)


def drain(tail: Tail, now_us: int = 0) -> list[Chunk]:
    """Poll until nothing is new."""
    chunks: list[Chunk] = []
    while new := tail.poll(now_us):
        chunks += new
    return chunks


def saved(tail: Tail) -> dict[str, Any]:
    """Return the positions as they come back from JSON."""
    positions = json.loads(json.dumps(tail.positions()))
    assert isinstance(positions, dict)
    return positions


def order(number: int) -> bytes:
    """Return one order line."""
    return b"%d,85123A,6,2010-12-01 08:26\r\n" % number


@contextmanager
def nobody() -> Iterator[None]:
    """Give up the right of root to read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those that pytest gives to root."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
