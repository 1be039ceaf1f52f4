"""Log files keep whole lines also when the disk does not."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from oddlot.errors import StreamError
from oddlot.replay.logs import LogFiles


def test_a_disk_that_fills_up_leaves_whole_lines_and_a_clear_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    logs = LogFiles(tmp_path, b"header\n", "csv", "number", 10_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        logs.write([b"a line of 20 bytes.\n"] * 10)
        with pytest.raises(StreamError, match=r"orders-000001\.csv: cannot be written: File too"):
            logs.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
        logs.close()
    written = (tmp_path / "orders-000001.csv").read_bytes()
    assert written == b"header\n" + b"a line of 20 bytes.\n" * 4
