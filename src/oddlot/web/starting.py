"""How far an engine is that has not stored anything yet: it compiles its detectors first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from oddlot.config import Config
from oddlot.web.pages import type_of


class Start(NamedTuple):
    """What is ready for the first line.

    Attributes:
        ready: detectors whose kernels are in the cache.
        all: detectors that run.
    """

    ready: int
    all: int


def look_at_start(config: Config) -> Start:
    """Count the detectors whose kernels are in numba's cache already."""
    tests = [type_of(one) for one in config.detectors if not one.is_rule]
    folder = os.environ.get("NUMBA_CACHE_DIR", "")
    if not folder:
        return Start(len(tests), len(tests))
    ready = sum(any(Path(folder).glob(f"*/{name}.*.nbi")) for name in tests)
    return Start(ready, len(tests))
