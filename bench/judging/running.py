"""Runs of Oddlot and of its peers: their alerts, and what they cost."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judging.injected import Seed

BUDGET = 20  # all lower budgets are the same alerts, fewer of them
START_LINES = 1_000
MOST_A_DAY = 100  # of a peer's alerts that are kept, highest first: twice what the scorer looks at
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Found:
    """What one detector found in one seed.

    Attributes:
        stream: its alerts on the stream with faults: time, sku, type, score, ...
        clean: the same on the clean stream.
        lines_a_second: of CPU time; of Oddlot from the file to the alerts without its start, of
            a peer without reading the file.
    """

    stream: Any
    clean: Any
    lines_a_second: float


class Oddlot:
    """The program as a user runs it: `oddlot detect FILE --budget 20 --out alerts.csv`."""

    def __init__(self, command: str, scratch: Path) -> None:
        """Take the command.

        Args:
            command: where `oddlot` is.
            scratch: a folder for alerts; updated.
        """
        self.command = command
        self.scratch = scratch
        self._start = 0.0

    def find(self, seed: Seed) -> Found:
        """Run on both files of a seed."""
        if not self._start:
            self._start = self._measure_start(seed)
        stream, seconds = self.run(seed.file("stream"))
        clean, _ = self.run(seed.file("clean"))
        return Found(stream, clean, seed.lines / max(seconds - self._start, 1e-9))

    def run(self, file: Path) -> tuple[Any, float]:
        """Run on one file.

        Returns:
            The alerts, and the CPU seconds of the whole command.
        """
        import pandas as pd

        out = self.scratch / "alerts.csv"
        out.unlink(missing_ok=True)
        log = self.scratch / "log.txt"
        command = [self.command, "detect", str(file), "--budget", str(BUDGET), "--out", str(out)]
        with log.open("wb") as told:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                cwd=self.scratch,
                env={**os.environ, **ONE_THREAD},
            )
            try:
                _, status, usage = os.wait4(child.pid, 0)  # tells the CPU time of this child alone
            except KeyboardInterrupt:
                child.kill()
                child.wait()
                raise
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            last = (log.read_text("utf-8", "replace").strip().splitlines() or ["(nothing)"])[-1]
            sys.exit(f"{' '.join(command)} failed with exit code {child.returncode}: {last}")
        alerts = pd.read_csv(out, dtype={"sku": str}, parse_dates=["time"])
        return alerts, usage.ru_utime + usage.ru_stime

    def find_in(self, lines: Any) -> Any:
        """Run on order lines in memory, for `check_causal`."""
        file = self.scratch / "lines.csv"
        lines.to_csv(file, index=False)
        return self.run(file)[0]

    def _measure_start(self, seed: Seed) -> float:
        """Return the CPU seconds of a run on few lines, everything compiled."""
        few = self.scratch / "few.csv"
        with (
            gzip.open(seed.file("stream"), "rt", newline="", encoding="utf-8") as source,
            few.open("w", newline="", encoding="utf-8") as out,
        ):
            csv.writer(out).writerows(itertools.islice(csv.reader(source), START_LINES + 1))
        self.run(few)
        return self.run(few)[1]


class Peers:
    """The peers, run once a seed: what they found is kept as long as their code stays as it is."""

    def __init__(self, cache: Path, code: Path) -> None:
        """Take the folders.

        Args:
            cache: what was found is kept here.
            code: the folder of the peers' code.
        """
        self.cache = cache
        digest = hashlib.blake2b(digest_size=6)
        for file in (Path(__file__).with_name("orders.py"), *sorted(code.glob("*.py"))):
            digest.update(file.read_bytes())
        self.version = digest.hexdigest()

    def find(self, name: str, peer: Callable[[Any], Any], seed: Seed, orders: Any) -> Found:
        """Run a peer on both files of a seed.

        Args:
            name: of the peer.
            peer: takes `Orders`, gives alerts.
            seed: what to run on.
            orders: reads "stream" or "clean" when called.
        """
        folder = self.cache / "peers" / self.version / str(seed.number)
        files = {which: folder / f"{name}-{which}.csv.gz" for which in ("stream", "clean")}
        cost = folder / f"{name}.json"
        if not cost.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for which, file in files.items():
                lines = orders(which)
                start = time.process_time()
                alerts = peer(lines)
                seconds = time.process_time() - start
                _keep_highest(alerts, lines).to_csv(file, index=False)
                if which == "stream":
                    rate = seed.lines / seconds
            cost.write_text(json.dumps({"lines_a_second": rate}))
        found = [_read(files[which]) for which in ("stream", "clean")]
        return Found(found[0], found[1], json.loads(cost.read_text())["lines_a_second"])


def _keep_highest(alerts: Any, lines: Any) -> Any:
    """Leave out what no threshold of the scorer reaches: hindsight that changes no result."""
    most = MOST_A_DAY * lines.trading_days
    if len(alerts) <= most:
        return alerts
    return alerts[alerts["score"] >= alerts["score"].nlargest(most).iloc[-1]]


def _read(file: Path) -> Any:
    import pandas as pd

    return pd.read_csv(file, dtype={"sku": str}, parse_dates=["time"])
