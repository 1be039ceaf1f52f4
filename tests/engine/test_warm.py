"""A second core compiles kernels that a run then finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from oddlot import config
from oddlot.engine import warm

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_kernels_that_are_missing_are_compiled_into_the_cache(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "oddlot.engine.warm", "write_off"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        check=True,
    )
    assert any(tmp_path.glob("*/write_off.*.nbi"))
    assert any(tmp_path.glob("*/scoring.*.nbi"))


def test_nothing_is_started_where_nothing_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detectors = config.from_text("", "a test").detectors
    (tmp_path / "src_1").mkdir()
    for detector in detectors:
        name = type(detector).__module__.rpartition(".")[2]
        (tmp_path / "src_1" / f"{name}._scan-1.py311.nbi").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "Popen", None)  # a call of it would fail
    warm.compile_beside(detectors)
