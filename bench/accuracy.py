"""Oddlot and its peers on InventoryBench: what they find, how soon, how many false alarms.

Faults are planted in a real year of orders by the benchmark's own injector, seed by seed;
`oddlot detect` runs on the file as anyone would run it, the peers run in this process, and the
benchmark's own scorer judges all of them. Tables go to standard output as Markdown, or with --docs
into docs/explanation/accuracy.md, with plots in docs/images. Needs bench/.venv, the benchmark
(--inventorybench) and the real orders (--data); what is injected and what the peers found is kept
in --cache.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
PYTHON = BENCH / ".venv" / "bin" / "python"
ODDLOT = "oddlot"
# In the warm-up, at a busy noon, in a morning, in an evening of the busiest season.
CUTS = ("2011-03-15 12:00", "2011-07-20 12:31", "2011-10-06 10:15", "2011-11-25 19:00")


def main() -> int:
    """Read the command line, run everything, print or write the tables."""
    use_own_python()
    options = _read_options()
    from judging import tables
    from judging.injected import find_inventorybench, load_seed
    from judging.running import Oddlot

    find_inventorybench(options.inventorybench)
    reports: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="oddlot-accuracy-") as scratch:
        oddlot = Oddlot(options.oddlot, Path(scratch))
        for number in options.seeds:
            seed = load_seed(number, options.data, options.cache)
            for name, report in _judge_all(seed, oddlot, options):
                reports.setdefault(name, []).append(report)
        if options.causal:
            first = load_seed(options.seeds[0], options.data, options.cache)
            _check_causal(first, oddlot)
    if options.out:
        options.out.write_text(json.dumps(reports, indent=1), "utf-8")
    made = tables.make_tables(reports)
    made["run"] = _describe(options, len(reports))
    if options.docs:
        _write_docs(made, reports)
    else:
        print("\n\n".join(f"## {name}\n\n{table}" for name, table in made.items()))
    return 0


def _judge_all(seed: Any, oddlot: Any, options: argparse.Namespace) -> Any:
    """Yield the name and the report of each detector on one seed."""
    from judging.running import Peers
    from judging.scoring import judge

    if ODDLOT in options.detectors:
        report = judge(oddlot.find(seed), seed, is_rate=True)
        _tell(seed.number, ODDLOT, report)
        yield ODDLOT, report
    names = [name for name in options.detectors if name != ODDLOT]
    if not names:
        return
    from judging.orders import read_orders
    from peers import PEERS, RATES

    orders = functools.cache(lambda which: read_orders(seed.file(which)))
    runs = Peers(options.cache, BENCH / "peers")
    for name in names:
        found = runs.find(name, PEERS[name], seed, orders)
        report = judge(found, seed, is_rate=name in RATES)
        _tell(seed.number, name, report)
        yield name, report


def _tell(number: int, name: str, report: dict[str, Any]) -> None:
    at = report["at"][20]
    _say(
        f"seed {number}, {name}: macro recall {at['macro_recall']:.3f}, best F1 "
        f"{at['f1_best']:.3f}, PR-AUC {at['pr_auc']:.3f}, {at['clean_fp_per_day']:.1f} false "
        f"alarms a day on clean, {report['lines_a_second']:,.0f} lines a CPU second"
    )


def _check_causal(seed: Any, oddlot: Any) -> None:
    """Run the real command on the stream cut short; InventoryBench compares."""
    from inventorybench import check_causal, load_stream

    check_causal(oddlot.find_in, load_stream(seed.file("stream")), CUTS)
    _say(f"seed {seed.number}: no alert before {', '.join(CUTS)} depends on a later line")


def _describe(options: argparse.Namespace, detectors: int) -> str:
    """Say how the tables were made."""
    seeds = ", ".join(str(number) for number in options.seeds)
    text = f"`bench/accuracy.py --seeds {' '.join(str(number) for number in options.seeds)}`, "
    text += f"{time.strftime('%Y-%m-%d')}; mean of seeds {seeds}; {detectors} detectors in one run."
    if options.causal:
        text += f" `check_causal` passed on the real command, cut at {', '.join(CUTS)}."
    return text


def _write_docs(made: dict[str, str], reports: dict[str, list[dict[str, Any]]]) -> None:
    from judging import pages, plots

    page = ROOT / "docs" / "explanation" / "accuracy.md"
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for name, drawing in plots.draw_all(reports).items():
        (images / f"{name}.svg").write_text(drawing, "utf-8")
    missing = pages.fill(page, made)
    _say(f"wrote {page} and {images}" + (f"; no marker for {missing}" if missing else ""))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def use_own_python() -> None:
    """Go on with the Python of bench/.venv if this one has not what the benchmark needs."""
    if importlib.util.find_spec("pandas") is None:
        if not PYTHON.exists():
            sys.exit("the benchmark needs pandas: make -C bench install")
        sys.exit(subprocess.run([PYTHON, *sys.argv], check=False).returncode)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where things are."""
    shared = ROOT.parent / "shared"
    data = Path(os.environ.get("ODDLOT_DATA") or shared / "data") / "OnlineRetail.csv.gz"
    installed = ROOT / ".venv" / "bin" / "oddlot"
    parser.add_argument("--inventorybench", type=Path, default=shared, help="holds the package")
    parser.add_argument("--data", type=Path, default=data, help="the real orders")
    parser.add_argument("--cache", type=Path, default=BENCH / ".cache" / "accuracy")
    parser.add_argument("--oddlot", default=str(installed) if installed.exists() else "oddlot")


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python bench/accuracy.py --seeds 4 5 6 --causal",
    )
    from peers import PEERS

    known = (ODDLOT, *PEERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--detectors", nargs="+", default=list(known), choices=known)
    add_places(parser)
    parser.add_argument("--causal", action="store_true", help="run check_causal, on the first seed")
    parser.add_argument("--docs", action="store_true", help="write the page and its plots")
    parser.add_argument("--out", type=Path, help="a JSON file of all figures")
    options = parser.parse_args()
    options.cache = options.cache.resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
