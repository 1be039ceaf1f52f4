"""`live.run` on a Kinesis stream, as a script that a test kills; says how far it is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from oddlot import config
from oddlot.engine import live


def main(file: Path, until: int, settings: list[str]) -> None:
    """Watch until nothing is pending and `until` records were read; print a line for each poll."""
    is_done = False

    def on_progress(progress: live.Progress) -> None:
        nonlocal is_done
        counts = progress.counters
        is_done = counts["read"] >= until and counts["pending"] == 0
        print(json.dumps({"counts": counts, "problems": progress.problems}), flush=True)

    live.run(
        config.apply(config.load(file), settings),
        clock_us=lambda: time.time_ns() // 1000,
        sleep=time.sleep,
        should_stop=lambda: is_done,
        on_progress=on_progress,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
