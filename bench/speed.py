"""Oddlot and its rivals on one job, low_quantity: lines a CPU second and memory, as Markdown.

Every tool runs as its own command, from a file of order lines to a CSV file of results, pinned to
one core, in turns (tool A, B, C, A, B, C, ...), so that a busy machine is busy for all. What counts
is user and system CPU seconds of the whole command. "steady" leaves out its start: the CPU seconds
of the same command on 1,000 lines. Slow tools get the first lines of the same file; compare their
steady rates. Every result is read back and compared with that of Oddlot, or else of the first tool.
"""

from __future__ import annotations

import argparse
import csv
import functools
import hashlib
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
ODDLOT = "oddlot"
RIVALS = ("polars", "duckdb", "plain", "pandas", "bytewax", "river", "streamz")
MOST_LINES = {"pandas": 1_000_000, "bytewax": 1_000_000, "river": 200_000, "streamz": 200_000}
# These answer a line as it comes, before its equals in time are known: less work, other averages.
NOT_HELD_BACK = {"river", "streamz"}
DIFFERS = "differs"
START_LINES = 1_000
# The rivals live in an environment of their own; the runner needs nothing but numpy.
RIVALS_PYTHON = BENCH / ".venv" / "bin" / "python"
# One thread each: a library that starts more threads than cores only loses.
ONE_THREAD = dict.fromkeys(
    ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

# With bytecode writing off every tool would be compiled from source at each start.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Run:
    """What one run of a command cost."""

    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Result:
    """What a command found: a sum over its rows whatever their order."""

    rows: int
    window_sum: int
    window_count: int
    averages: float
    digest: int  # of all columns but the average, whose digits are each tool's own

    def is_like(self, other: Result) -> bool:
        """Tell whether two results are the same up to the rounding of their averages."""
        exact = ("rows", "window_sum", "window_count", "digest")
        return all(getattr(self, name) == getattr(other, name) for name in exact) and (
            abs(self.averages - other.averages) <= 1e-6 * max(1.0, abs(other.averages))
        )


@dataclass
class Measured:
    """All runs of one tool."""

    lines: int
    runs: list[Run] = field(default_factory=list)
    starts: list[Run] = field(default_factory=list)
    result: Result | None = None

    @property
    def whole(self) -> float:
        """Million lines a CPU second, start included."""
        return self.lines / self._median(self.runs) / 1e6

    @property
    def steady(self) -> float:
        """Million lines a CPU second without the start."""
        seconds = self._median(self.runs) - self._median(self.starts)
        return (self.lines - START_LINES) / max(seconds, 1e-9) / 1e6

    @property
    def peak_mb(self) -> float:
        """Largest memory of any run."""
        return max(run.peak_mb for run in self.runs)

    @staticmethod
    def _median(runs: list[Run]) -> float:
        return statistics.median(run.cpu_seconds for run in runs)


def main() -> int:
    """Read the command line, run everything and print the table."""
    options = _read_options()
    tools = []
    for tool in options.tools:
        missing = _find_missing(tool, options.oddlot)
        if missing:
            _say(f"{tool} is left out: {missing}")
        else:
            tools.append(tool)
    if not tools:
        _say("nothing to run")
        return 1
    options.cache.mkdir(parents=True, exist_ok=True)
    measured = {tool: Measured(min(options.lines, MOST_LINES.get(tool, 10**12))) for tool in tools}
    counts = {START_LINES, *(one.lines for one in measured.values())}
    files = make_inputs(options.cache, options.format, options.lines, options.skus, counts)
    os.sched_setaffinity(0, {options.core})  # which every command inherits
    failed = set()
    try:
        for turn, tool in itertools.product(range(-1, options.repeat), tools):
            if tool not in failed and not _take_turn(tool, turn, measured[tool], files, options):
                failed.add(tool)
        judged = _judge_all(
            {tool: one for tool, one in measured.items() if one.runs}, files, options
        )
    except KeyboardInterrupt:
        _say("stopped")
        return 1
    _report({tool: one for tool, one in measured.items() if one.runs}, judged, options)
    return 1 if failed or any(DIFFERS in text for text in judged.values()) else 0


def _judge_all(
    measured: dict[str, Measured], files: dict[int, Path], options: argparse.Namespace
) -> dict[str, str]:
    """Compare every result with that of the first tool, which runs again on the shorter inputs."""
    if not measured:
        return {}
    first = next(iter(measured))
    references = {measured[first].lines: measured[first].result}
    out = options.cache / "out-reference.csv"
    for count in {one.lines for one in measured.values()} - references.keys():
        try:
            measure(_command(first, files[count], out, options.oddlot), options.cache)
            references[count] = read_result(out)
        except subprocess.CalledProcessError as error:
            _say(f"{first} failed on {count:,} lines: {error.stderr}")
        out.unlink(missing_ok=True)
    return {
        tool: _judge(tool, one.result, references.get(one.lines), first)
        for tool, one in measured.items()
    }


def _take_turn(
    tool: str, turn: int, one: Measured, files: dict[int, Path], options: argparse.Namespace
) -> bool:
    """Run a tool on the short and the whole input; turn -1 only warms up and is not counted."""
    out = options.cache / f"out-{tool}.csv"
    for count in (START_LINES,) if turn < 0 else (START_LINES, one.lines):
        out.unlink(missing_ok=True)
        try:
            run = measure(_command(tool, files[count], out, options.oddlot), options.cache)
        except subprocess.CalledProcessError as error:
            _say(f"{tool} failed with exit code {error.returncode}: {error.stderr}")
            return False
        if turn >= 0:
            (one.starts if count == START_LINES else one.runs).append(run)
            _say(f"turn {turn + 1}, {tool}, {count:,} lines: {run.cpu_seconds:.2f} CPU s, "
                 f"{run.peak_mb:.0f} MB")  # fmt: skip
    if turn == 0:
        one.result = read_result(out)
    out.unlink(missing_ok=True)
    return True


def measure(command: list[str], cache: Path) -> Run:
    """Run a command to its end.

    Raises:
        subprocess.CalledProcessError: it failed; stderr holds its last line.
    """
    log = cache / "log.txt"
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=cache,
            env={**ENVIRONMENT, **ONE_THREAD},
        )
        # wait4 tells of this child alone. Its peak memory starts at that of the parent, which is
        # why the parent imports nothing large and reads results line by line.
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:
            child.kill()
            child.wait()
            raise
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        last = (log.read_text("utf-8", "replace").strip().splitlines() or ["(no message)"])[-1]
        raise subprocess.CalledProcessError(child.returncode, command, stderr=last)
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def make_inputs(
    cache: Path, ending: str, lines: int, skus: int, counts: set[int]
) -> dict[int, Path]:
    """Make the input once, and its first lines as files of their own.

    Returns:
        How many lines to the file that holds them.
    """
    whole = cache / f"orders-{lines}-{skus}.{ending}"
    if not whole.exists():
        _say(f"making {whole.name}")
        maker = [sys.executable, str(BENCH / "make_orders.py"), str(lines), str(whole)]
        subprocess.run([*maker, "--skus", str(skus)], check=True)
    files = {lines: whole}
    for count in counts - {lines}:
        files[count] = cache / f"orders-{lines}-{skus}-first-{count}.{ending}"
        if not files[count].exists():
            partial = files[count].with_suffix(".part")
            with whole.open("rb") as source, partial.open("wb") as out:
                out.writelines(itertools.islice(source, count + (ending == "csv")))
            partial.rename(files[count])
    return files


def read_result(file: Path) -> Result:
    """Read a CSV file of results and sum it up."""
    rows = window_sum = window_count = digest = 0
    averages = 0.0
    with file.open(newline="", encoding="utf-8") as source:
        for row in csv.DictReader(source):
            texts = [row[name] for name in ("InvoiceNo", "StockCode", "Description")]
            texts.append(row["InvoiceDate"].replace("T", " ").removesuffix("Z"))
            texts += [row["Quantity"], row["WindowSum"], row["WindowCount"]]
            key = hashlib.blake2b("|".join(texts).encode(), digest_size=8).digest()
            digest = (digest + int.from_bytes(key)) % 2**64
            rows += 1
            window_sum += int(row["WindowSum"])
            window_count += int(row["WindowCount"])
            averages += float(row["AverageQuantity"])
    return Result(rows, window_sum, window_count, averages, digest)


def _command(tool: str, file: Path, out: Path, oddlot: str) -> list[str]:
    if tool == ODDLOT:
        return [oddlot, "detect", str(file), "--only", "low_quantity", "--out", str(out)]
    return [
        str(RIVALS_PYTHON),
        str(BENCH / "rivals" / f"{tool}_low_quantity.py"),
        str(file),
        str(out),
    ]


def _find_missing(tool: str, oddlot: str) -> str:
    """Say why a tool cannot run, or ""."""
    if tool == ODDLOT:
        if shutil.which(oddlot) is None:
            return f"no command {oddlot!r}; install Oddlot, or name it with --oddlot"
        run = subprocess.run([oddlot, "detect", "--help"], capture_output=True, check=False)
        return "" if run.returncode == 0 else "`oddlot detect` is not there yet"
    return "" if tool in _read_versions() else "not installed; run: make -C bench install"


@functools.cache
def _read_versions() -> dict[str, str]:
    """Ask the rivals' Python which of them are there, and in which version."""
    if not RIVALS_PYTHON.exists():
        return {}
    script = (
        "import importlib.metadata as m, json, platform;"
        "found = {d.name: d.version for d in m.distributions()};"
        "found['plain'] = 'Python ' + platform.python_version(); print(json.dumps(found))"
    )
    run = subprocess.run([RIVALS_PYTHON, "-c", script], capture_output=True, check=True)
    versions: dict[str, str] = json.loads(run.stdout)
    return versions


def _report(
    measured: dict[str, Measured], judged: dict[str, str], options: argparse.Namespace
) -> None:
    print(
        f"low_quantity, {options.format.upper()} file to CSV of results, {options.lines:,} lines, "
        f"{options.skus:,} SKUs; median of {options.repeat}, in turns, core {options.core} of "
        f"{_cpu_name()}, {time.strftime('%Y-%m-%d')}\n"
    )
    print("| tool | lines | M lines/CPU s | steady | Oddlot / tool | steady | peak MB | result |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    oddlot = measured.get(ODDLOT)
    for tool, one in measured.items():
        whole = steady = "-"
        if oddlot is not None and tool != ODDLOT:
            steady = f"{oddlot.steady / one.steady:.1f} x"
            if one.lines == oddlot.lines:  # else the starts weigh differently
                whole = f"{oddlot.whole / one.whole:.1f} x"
        name = f"{tool} {_read_versions().get(tool, '')}".strip()
        print(
            f"| {name} | {one.lines:,} | {one.whole:.3f} | {one.steady:.3f} "
            f"| {whole} | {steady} | {one.peak_mb:.0f} | {judged[tool]} |"
        )


def _judge(tool: str, result: Result | None, reference: Result | None, first: str) -> str:
    """Compare a result with that of the first tool on as many lines."""
    if result is None or reference is None:
        return "not compared"
    told = f"{result.rows:,} rows, averages sum to {result.averages:,.4f}"
    if tool == first:
        return told
    if result.is_like(reference):
        return f"same as {first}"
    if tool in NOT_HELD_BACK and result.rows == reference.rows:
        return f"same rows as {first}, equal times not held back"
    return f"**{DIFFERS}** from {first}: {told}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python bench/speed.py --tools oddlot,polars --repeat 3",
    )
    known = (ODDLOT, *RIVALS)
    parser.add_argument("--tools", default=",".join(known), help="which, by comma (default: all)")
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--skus", type=int, default=4_000)
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--cache", type=Path, default=BENCH / ".cache", help="for inputs")
    installed = ROOT / ".venv" / "bin" / "oddlot"
    parser.add_argument("--oddlot", default=str(installed) if installed.exists() else "oddlot")
    options = parser.parse_args()
    options.tools = options.tools.split(",")
    for tool in options.tools:
        if tool not in known:
            parser.error(f"--tools: must be among: {', '.join(known)}; got {tool!r}")
    if options.lines < START_LINES or options.repeat < 1:
        parser.error(f"--lines must be at least {START_LINES} and --repeat at least 1")
    options.cache = options.cache.resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
