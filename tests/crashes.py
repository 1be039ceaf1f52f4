"""A shop's state that grows by known steps; as a script, killed once at each place given."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from oddlot.alert_files import AlertFiles
from oddlot.archive import Archive
from oddlot.durable import Crash
from oddlot.schema import LINE, Alert, Reject, order_schema
from oddlot.store import Store

STEPS = 4
HEADER = b"step,text\n"
ROW = np.dtype([("seen", "f8"), ("pair", "<i4", (2,)), ("flag", "u1")], align=True)


def alert(number: int, **changes: Any) -> Alert:
    values = {
        "id": f"{number:032x}",
        "detector": "quantity_spike",
        "time_us": 1_300_000_000_000_000 + number * 60_000_000,
        "sku": f"SKU{number % 3}",
        "chance": 1e-9,
        "rate": 0.01,
        "score": 2.0,
        "invoice": "536365",
        "description": "WHITE ☕ MUG",
        "quantity": 74_215,
        "price": 1.04,
        "source": "orders.csv",
        "position": number,
        "number": number + 1,
        "evidence": {"mean": 3.5},
        "text": "A line far larger than usual.",
    }
    return Alert(**{**values, **changes})


def reject(number: int) -> Reject:
    return Reject(
        "orders.csv", number * 10, number, "record must have 8 fields; got 7", b"x\xff", 2
    )


def arrays(step: int) -> dict[str, np.ndarray[Any, Any]]:
    rows = np.zeros(step + 2, ROW)
    rows["seen"] = step
    rows["pair"] = [step, -step]
    lines = np.zeros(2, LINE)
    lines["quantity"] = step
    return {"rows": rows, "lines": lines, "clock": np.arange(step, dtype=np.int64)}


def orders(step: int) -> pa.Table:
    """Two order lines, one on each side of a midnight."""
    midnight = (15_000 + step) * 86_400_000_000
    values: dict[str, list[object]] = {name: [f"{name}{step}"] * 2 for name in order_schema().names}
    values |= {"time": [midnight - 1, midnight], "quantity": [step] * 2, "price": [1.5] * 2}
    values |= {"position": [step] * 2, "number": [step] * 2}
    return pa.table(values, schema=order_schema())


def run(folder: Path, crash: Crash | None = None) -> list[str]:
    """Take the state up where it was left and bring it to the last step; returns the repairs."""
    with Store.open(folder / "state", crash=crash) as store:
        saved = store.load()
        start = b'{"step":0,"files":{},"name":""}'
        meta = msgspec.json.decode(saved.meta if saved else start)
        files = AlertFiles(folder / "alerts", "csv", rotate_bytes=30, crash=crash)
        archive = Archive(folder / "archive", crash=crash)
        with files:
            files.restore(meta["files"])
            archive.restore(meta["name"])
            for step in range(meta["step"] + 1, STEPS + 1):
                store.add_alerts([alert(step)])
                for detector in ("low_quantity", "second", "low_quantity"):
                    files.append(detector, b"%d,a rule that fires often\n" % step, HEADER)
                files.sync()
                archive.write_orders(orders(step), f"{step:06d}")
                after = {"step": step, "files": files.positions(), "name": f"{step:06d}"}
                store.commit(
                    msgspec.json.encode(after),
                    arrays(step),
                    [alert(step), alert(100 + step)],
                    [reject(step)],
                    {"read": step * 10},
                )
        return store.repairs


def outcome(folder: Path) -> dict[str, Any]:
    """Return everything that a user can see; the number of a checkpoint is none of it."""
    with Store.read(folder / "state") as store:
        saved = store.load()
        assert saved is not None
        counts = store.counts()
        del counts["checkpoint"]
        return {
            "meta": saved.meta,
            "arrays": {name: array.tobytes() for name, array in saved.arrays.items()},
            "alerts": list(store.alerts(newest=False)),
            "rejects": store.rejects(),
            "counts": counts,
            "files": {
                str(path.relative_to(folder)): path.read_bytes()
                for part in ("alerts/*.csv", "archive/orders/*/*.parquet")
                for path in sorted(folder.glob(part))
            },
        }


def damage_newest(folder: Path) -> None:
    newest = max((folder / "state").glob("rows-*.bin"))
    whole = bytearray(newest.read_bytes())
    whole[-1] ^= 1
    newest.write_bytes(whole)


# Points that only a second start comes to, and where to kill the first.
BEFORE = {
    "open.orphan": "sql.commit:9",
    "repair.move": "commit.done:3",
    "repair.flag": "commit.done:3",
    "files.restore": "files.sync:6",
    "archive.restore": "sql.checkpoint:3",
}


def fill(folder: Path, epochs: int) -> None:
    with Store.open(folder) as store:
        for epoch in range(1, epochs + 1):
            store.commit(b'{"step":%d}' % epoch, arrays(epoch), [alert(epoch)])


def kill_at(folder: Path, place: str) -> bool:
    """Run in a child that kills itself at `place`; False if it never came there."""
    child = os.fork()
    if child == 0:
        os.environ["ODDLOT_CRASH_AT"] = place
        failed = True
        try:
            run(folder)
            failed = False
        finally:
            os._exit(int(failed))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, f"{place}: failed"
    return False


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Lend a folder in memory where there is one: a kill loses no written byte, syncs only time."""
    shared = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


def main(root: Path, places: list[str]) -> None:
    """Kill once at each place, then run to the end; prints the places that were reached."""
    run(root / "warm")  # so that no child pays for first uses
    for place in places:
        folder = root / place
        point = place.split(":")[0]
        if point in BEFORE:
            assert kill_at(folder, BEFORE[point]), f"{BEFORE[point]}: not reached"
            if point.startswith("repair."):
                damage_newest(folder)
        if kill_at(folder, place):
            print(place)
            kill_at(folder, "open.lock:99")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
