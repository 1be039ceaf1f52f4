"""Positions, rows and everything else that a restart needs, saved and restored together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from oddlot.engine.embedded import Engine
from oddlot.engine.scoring import type_of
from oddlot.engine.sources import Source
from oddlot.errors import StateError
from oddlot.schema import LINE
from oddlot.stored import Saved

VERSION = 2
_LEARNED = {"rows", "shop", "past", "told"}  # arrays named <one of these>.<type of a detector>


def save(engine: Engine, extra: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return what `Store.commit` takes: the meta data as JSON, and the arrays.

    Args:
        engine: between two batches.
        extra: JSON-able values of the caller's, such as the positions of the stream.
    """
    numbers, arrays = engine.time.save()
    held, held_arrays = engine.alignment.save()
    arrays |= held_arrays
    arrays |= {f"skus.{name}": array for name, array in engine.skus.save().items()}
    arrays |= engine.budget.save()
    arrays |= engine.scoring.save(engine.skus.count)
    sources = []
    for source in engine.sources.values():
        values, tail = source.save()
        sources.append(values)
        arrays[f"tail.{source.number}"] = tail
    meta = {
        "version": VERSION,
        "line": LINE.itemsize,
        "time": numbers,
        "held": held,
        "detectors": _options(engine),
        "incidents": engine.incidents.save(),
        "sources": sources,
        "read": dict(engine.read),
        "scored": dict(engine.scored),
        "rejected": dict(engine.rejected),
        "extra": dict(extra),
    }
    return msgspec.json.encode(meta), arrays


def restore(engine: Engine, saved: Saved) -> dict[str, Any]:
    """Bring a new engine to where it was saved; return the caller's extra values.

    Raises:
        StateError: the state is of another version of Oddlot.
    """
    meta = msgspec.json.decode(saved.meta)
    if meta["version"] != VERSION or meta["line"] != LINE.itemsize:
        raise StateError(
            f"state: must be of version {VERSION}; got {meta['version']}:"
            " use the Oddlot that wrote it, or start from nothing with --start-fresh"
        )
    # What was learned with other options is no part of a detector's memory.
    options = _options(engine)
    changed = {name for name in options if meta["detectors"].get(name) != options[name]}
    arrays = {
        key: array
        for key, array in saved.arrays.items()
        if not (
            key.startswith(("rows.", "shop.", "past.", "told."))
            and key.partition(".")[2] in changed
        )
    }
    engine.time.restore(meta["time"], arrays)
    engine.alignment.restore(meta.get("held", {}), arrays)  # not in states of earlier versions
    engine.skus.restore(_part(arrays, "skus."))
    engine.budget.restore(arrays)
    engine.scoring.restore(arrays)
    engine.incidents.restore(meta["incidents"])
    for number, values in enumerate(meta["sources"]):
        tail = np.ascontiguousarray(arrays[f"tail.{number}"])
        engine.sources[values["name"]] = Source.restore(values, number, tail)
        engine.time.source_names.append(values["name"])
    engine.read = _counter(meta["read"])
    engine.scored = _counter(meta["scored"])
    engine.rejected = _counter(meta["rejected"])
    extra: dict[str, Any] = meta["extra"]
    return extra


def _options(engine: Engine) -> dict[str, Any]:
    """Return each detector's options, by its type."""
    return {type_of(one): msgspec.to_builtins(one) for one in engine.config.detectors}


def _part(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _counter(saved: Mapping[str, int]) -> Counter[int]:
    return Counter({int(number): count for number, count in saved.items()})
