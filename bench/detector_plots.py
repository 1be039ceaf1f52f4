"""A plot for each detector's page: a planted fault, its series before and around, the alert.

One public seed of InventoryBench is injected, `oddlot detect` runs on it, and of each type the
medium fault with the median score is drawn; mistyped codes and a quiet week, which the benchmark
does not have, are planted in its clean stream. Needs what bench/accuracy.py needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from accuracy import BENCH, ROOT, add_places, use_own_python


def main() -> int:
    """Read the command line, run Oddlot once, draw."""
    use_own_python()
    options = _read_options()
    from judging import examples
    from judging.injected import find_inventorybench, load_seed
    from judging.orders import read_orders
    from judging.planting import plant
    from judging.running import Oddlot

    find_inventorybench(options.inventorybench)
    seed = load_seed(options.seed, options.data, options.cache)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="oddlot-plots-") as scratch:
        oddlot = Oddlot(options.oddlot, Path(scratch))
        more = Path(scratch) / "planted.csv"
        more_labels = plant(seed.file("clean"), more)
        for file, labels in ((seed.file("stream"), seed.labels), (more, more_labels)):
            alerts, _ = oddlot.run(file)
            orders = read_orders(file)
            for kind in [kind for kind in examples.VIEWS if (labels["type"] == kind).any()]:
                example = examples.choose(kind, alerts, labels)
                if example is None:
                    print(f"{kind}: nothing planted was found, no plot", file=sys.stderr)
                    continue
                plot = options.out / f"{kind}.svg"
                plot.write_text(examples.draw(example, orders, seed.number), "utf-8")
                print(f"{plot}: {example.sku[:40]} {example.start}")
    return 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python bench/detector_plots.py --seed 1",
    )
    add_places(parser)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=BENCH / ".cache" / "images")
    parser.add_argument(
        "--docs", dest="out", action="store_const", const=ROOT / "docs" / "images",
        help="write them into docs/images",
    )  # fmt: skip
    options = parser.parse_args()
    options.cache = options.cache.resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
