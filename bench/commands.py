"""Start-up, compilation, memory and the second core, as Markdown: the whole command each time."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from make_orders import write_orders

# With bytecode writing off every module would be compiled from source at each start.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
CACHE = Path(__file__).resolve().parent / ".cache"


def measure(
    arguments: list[str], environment: dict[str, str] | None = None, cores: int = 1
) -> tuple[float, float, float]:
    """Run a command on so many cores; return wall seconds, CPU seconds and peak megabytes."""
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[-cores:]))
    started = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", chosen, sys.executable, "-m", "oddlot", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, **(environment or {})},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments}: exit status {status}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def orders(lines: int) -> str:
    """Return a file of order lines, made once."""
    CACHE.mkdir(exist_ok=True)
    file = CACHE / f"commands-{lines}.csv"
    if not file.exists():
        write_orders(file, lines)
    return str(file)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--factor", type=int, default=10, help="how much larger the large file is")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    low = ["--only", "low_quantity", "--out"]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "rows.csv"))
        small = orders(1_000)
        print("| start | wall s | CPU s |\n|---|---:|---:|")
        cold = measure(["detect", small, *low, out], {"NUMBA_CACHE_DIR": str(Path(folder, "cold"))})
        print(f"| detect on 1,000 lines, nothing compiled yet | {cold[0]:.2f} | {cold[1]:.2f} |")
        for name, command in (
            ("detect on 1,000 lines", ["detect", small, *low, out]),
            ("--help", ["--help"]),
        ):
            runs = [measure(command) for _ in range(options.repeat + 1)][1:]
            wall, used = (statistics.median(run[i] for run in runs) for i in (0, 1))
            print(f"| {name} | {wall:.2f} | {used:.2f} |", flush=True)
        print("\n| lines | peak MB |\n|---:|---:|")
        for lines in (options.lines, options.lines * options.factor):
            print(
                f"| {lines:,} | {measure(['detect', orders(lines), *low, out])[2]:.0f} |",
                flush=True,
            )
        one: list[float] = []
        two: list[float] = []
        for _ in range(options.repeat):
            command = ["detect", orders(options.lines), *low, out]
            one.append(measure(command)[0])
            two.append(measure(command, cores=2)[0])
        ratio = statistics.median(a / b for a, b in zip(one, two, strict=True))
        print(f"\n| cores | wall s |\n|---:|---:|\n| 1 | {statistics.median(one):.2f} |")
        print(f"| 2 | {statistics.median(two):.2f} |\n\nTwo cores are {ratio:.2f} times as fast.")


if __name__ == "__main__":
    main()
