"""Lines per CPU second on Flink: the plain SQL, the hosted detectors, and the embedded engine.

One run, pinned to one core. CPU time is that of the whole process tree: Python, the JVM and its
Python workers. Each way is also run over 1,000 lines, and that start-up is taken off. Flink runs
inside the command (its local mini cluster). Needs Flink: oddlot flink install.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from make_orders import write_orders

CACHE = Path(__file__).resolve().parent / ".cache"
ODDLOT = [sys.executable, "-m", "oddlot"]
TICK = os.sysconf("SC_CLK_TCK")
SHOP = """
[source]
path = "{orders}"
dates = "iso"
[flink]
cluster = "local"
ends = true
parallelism = {parallelism}
{detectors}
"""
LOW = '[[detectors]]\ntype = "low_quantity"\n'


def cpu_of(session: int) -> dict[int, float]:
    """Return the CPU seconds of each process of a session, its ended children included."""
    spent = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) / TICK
    return spent


def measure(command: list[str], core: int, cores: int) -> tuple[float, float, float]:
    """Run a command pinned; return CPU seconds, wall seconds and the largest memory seen, MB."""
    started = time.monotonic()
    seen: dict[int, float] = {}
    peak = 0.0
    with subprocess.Popen(
        ["taskset", "-c", ",".join(str(core + i) for i in range(cores)), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as program:
        while program.poll() is None:
            now = cpu_of(program.pid)
            seen |= now
            peak = max(peak, sum(map(memory_of, now)))
            time.sleep(0.1)
        seen |= cpu_of(program.pid)
        errors = program.stderr.read().decode() if program.stderr else ""
    if program.returncode:
        sys.exit(errors)
    return sum(seen.values()), time.monotonic() - started, peak


def memory_of(process: int) -> float:
    """Return a process's resident memory, MB; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def commands(folder: Path, orders: Path, parallelism: int) -> dict[str, list[str]]:
    """Return each way's command over an orders file."""
    ways = {
        "Flink SQL": [
            *(*ODDLOT, "flink", "sql", "orders_files", "alerts_files", "low_quantity"),
            *("--set", f"orders.path={orders}", "--set", f"alerts.path={folder / 'sql'}"),
        ]
    }
    for name, detectors in (("hosted, low_quantity", LOW), ("hosted, all tests", "")):
        place = folder / name.replace(" ", "_")
        place.mkdir(parents=True)
        text = SHOP.format(orders=orders, parallelism=parallelism, detectors=detectors)
        (place / "shop.toml").write_text(text)
        ways[name] = [*ODDLOT, "run", str(place / "shop.toml"), "--engine", "flink"]
    out = str(folder / "rows.csv")
    ways["embedded, low_quantity"] = [
        *(*ODDLOT, "detect", str(orders), "--only", "low_quantity", "--out", out)
    ]
    ways["embedded, all tests"] = [*ODDLOT, "detect", str(orders), "--out", f"{out}.jsonl"]
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--cores", type=int, default=1, help="and tasks in parallel")
    options = parser.parse_args()
    files = {}
    for count in (1_000, options.lines):
        CACHE.mkdir(exist_ok=True)
        files[count] = CACHE / f"flink-{count}" / "orders.csv"
        if not files[count].exists():
            files[count].parent.mkdir(exist_ok=True)
            write_orders(files[count], count)
    figures: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
    for turn in range(-1, options.turns):
        for count, orders in files.items():
            if turn < 0 and count > 1_000:
                continue  # the first turn only compiles what is not in the cache
            folder = Path(tempfile.mkdtemp(prefix="oddlot-flink-"))
            try:
                for name, command in commands(folder, orders, options.cores).items():
                    took = measure(command, options.core, options.cores)
                    if turn >= 0:
                        figures.setdefault(name, {}).setdefault(count, []).append(took)
                    print(f"turn {turn + 1}: {name}: {count:,} lines: {took[0]:.1f} CPU s",
                          file=sys.stderr)  # fmt: skip
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    print(f"{options.lines:,} lines, {options.cores} core(s), medians of {options.turns} turns\n")
    print("| way | CPU s | start-up CPU s | k lines per CPU s, start-up taken off | wall s | MB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, by_count in figures.items():
        start = statistics.median(took[0] for took in by_count[1_000])
        whole = statistics.median(took[0] for took in by_count[options.lines])
        wall = statistics.median(took[1] for took in by_count[options.lines])
        peak = statistics.median(took[2] for took in by_count[options.lines])
        steady = (options.lines - 1_000) / max(whole - start, 1e-9) / 1e3
        print(f"| {name} | {whole:.1f} | {start:.1f} | {steady:.0f} | {wall:.0f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
