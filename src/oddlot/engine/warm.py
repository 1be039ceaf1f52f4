"""Compile kernels beside a run that will need them: python -m oddlot.engine.warm TYPE ..."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oddlot import catalog
from oddlot.engine.event_time import Released
from oddlot.engine.scoring import Scoring, type_of
from oddlot.schema import LINE, Lines


def compile_beside(detectors: Sequence[Any]) -> None:
    """Let a second core, if there is one, compile what the cache of kernels lacks, the last first.

    The run itself compiles the first meanwhile, and finds what the other has done.

    Args:
        detectors: that the run will need, in its order.
    """
    types = [type_of(detector) for detector in detectors if not detector.is_rule]
    folder = os.environ.get("NUMBA_CACHE_DIR")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not folder or (cores or 1) < 2:
        return
    missing = [name for name in types if not any(Path(folder).glob(f"*/{name}.*.nbi"))]
    if len(missing) < 2:
        return
    beside = subprocess.Popen(  # noqa: S603  # ourselves
        [sys.executable, "-m", "oddlot.engine.warm", *reversed(missing)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C stops the run, not what the next one will be glad of
    )
    # So that a run for ever keeps no dead child.
    threading.Thread(target=beside.wait, daemon=True).start()


def compile_now(detectors: Sequence[Any]) -> None:
    """Compile the kernels of tests by scoring nothing."""
    nothing = Released(Lines(np.zeros(0, LINE), np.zeros(64, np.uint8)), np.zeros(0, np.int64))
    for detector in detectors:
        if not detector.is_rule:
            Scoring([detector]).score(nothing, 0)


if __name__ == "__main__":
    compile_now([catalog.build("detectors", {"type": name}, name) for name in sys.argv[1:]])
