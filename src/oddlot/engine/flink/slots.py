"""What the slots of a Flink job do; knows nothing of Flink, so that a test can play its part."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from oddlot.alerts.rows import RowWriter
from oddlot.config import Config, from_table
from oddlot.decode.intern import SkuTable
from oddlot.decode.scan import PADDING
from oddlot.engine import checkpoint
from oddlot.engine.embedded import Engine, Outcome
from oddlot.engine.event_time import Released, pack
from oddlot.engine.scoring import Scoring, type_of
from oddlot.errors import StateError
from oddlot.row_files import describe, restore_dtype
from oddlot.schema import LINE, Alert, Incident, Lines, Reject
from oddlot.stored import Saved

SLOTS = 32  # into which rules are split, by SKU; a fixed number, so that rescaling moves slots
VERSION = 1
_FEWEST = 4 << 20  # bytes of batches that are kept before a snapshot takes their place
_LOGGED = 2  # and so many times the snapshot's own size

_IDLE, _END = b"\xc1", b"\xc1\xc1"  # 0xc1 begins nothing in MessagePack

Batch = list[tuple[str, bytes]]  # partition, and whole records of it


class Told(msgspec.Struct):
    """What became of one batch.

    Attributes:
        alerts, incidents, rejects: as the embedded engine gives them.
        split: lines for the rules, by slot, as `RuleSlot.take` wants them.
        rows: of each rule, CSV lines.
    """

    alerts: list[Alert] = []
    incidents: list[Incident] = []
    rejects: list[Reject] = []
    split: dict[int, bytes] = {}
    rows: dict[str, bytes] = {}


class Ordering:
    """Decodes and orders all records, runs the tests, and decides: the job's single point.

    Lateness, duplicates and the budget are judged here by the embedded engine itself, so that
    they are the same on Flink. Released lines go on to the rules, split by SKU.
    """

    def __init__(self, config: Config) -> None:
        """Start with nothing known."""
        rules, tests = split_detectors(config)
        self._engine = Engine(msgspec.structs.replace(config, detectors=tests))
        self._has_rules = bool(rules)
        self._slot = np.zeros(0, np.int64)  # of each SKU, by its number

    def take(self, batch: bytes, now_us: int) -> Told:
        """Take the next records.

        Args:
            batch: a `Batch` as MessagePack.
            now_us: the clock.

        Raises:
            ConfigError: the layout cannot be found, or must be asked for.
        """
        told = Told()
        pieces: list[Lines] = []
        for partition, data in msgspec.msgpack.decode(batch, type=Batch):
            for outcome in self._engine.feed(partition, data, False, now_us):
                self._note(outcome, told, pieces)
        return self._told(told, pieces)

    def finish(self, *, has_ended: bool) -> Told:
        """Release what is pending: nothing has come for long, or nothing will ever come."""
        told = Told()
        pieces: list[Lines] = []
        if has_ended:
            for partition in list(self._engine.sources):
                for outcome in self._engine.feed(partition, b"", True, 2**62):
                    self._note(outcome, told, pieces)
        self._note(self._engine.finish(), told, pieces)
        if has_ended:
            self._note(self._engine.strike(), told, pieces)
            told.rejects += self._engine.give_up_waiting()
        return self._told(told, pieces)

    def save(self) -> bytes:
        """Return everything that a restart needs."""
        meta, arrays = checkpoint.save(self._engine, {"slots": VERSION})
        return freeze(meta, arrays)

    def restore(self, saved: bytes) -> None:
        """Take over what `save` gave.

        Raises:
            StateError: it is of another version of Oddlot.
        """
        meta, arrays = thaw(saved)
        checkpoint.restore(self._engine, Saved(0, meta, arrays))

    def _note(self, outcome: Outcome, told: Told, pieces: list[Lines]) -> None:
        told.alerts += outcome.alerts
        told.incidents += outcome.incidents
        told.rejects += outcome.rejects
        order = outcome.released.order
        if not self._has_rules or len(order) == 0:
            return
        lines = outcome.released.lines
        pieces.append(pack([Lines(lines.line[order], lines.text)]))

    def _told(self, told: Told, pieces: list[Lines]) -> Told:
        if pieces:
            told.split = dict(self._split(pack(pieces)))
        return told

    def _split(self, lines: Lines) -> Iterator[tuple[int, bytes]]:
        """Cut released lines by slot, each slot's in event-time order."""
        slot = self._slots()[lines.line["sku"]]
        order = np.argsort(slot, kind="stable")
        # Texts lie in the order of the lines, so a run of lines has its texts in one run.
        lines = pack([Lines(lines.line[order], lines.text)])
        cuts = np.flatnonzero(np.diff(slot[order], prepend=-1, append=SLOTS)).tolist()
        starts = [*lines.line["text"].tolist(), len(lines.text) - PADDING]
        for first, last in pairwise(cuts):
            line = lines.line[first:last].copy()
            line["text"] -= starts[first]
            text = lines.text[starts[first] : starts[last] + PADDING]
            yield int(slot[order[first]]), write_lines(Lines(line, text))

    def _slots(self) -> Any:
        skus = self._engine.skus
        if skus.count > len(self._slot):
            fresh = [slot_of(skus.code(sku)) for sku in range(len(self._slot), skus.count)]
            self._slot = np.concatenate([self._slot, np.array(fresh, np.int64)])
        return self._slot


class RuleSlot:
    """Scores by the rules the lines of some SKUs, which come released and in order."""

    def __init__(self, config: Config) -> None:
        """Start with rows of zeros."""
        rules, _ = split_detectors(config)
        self._skus = SkuTable(config.kinds)
        self._scoring = Scoring(rules)
        self._writers = {type_of(rule): RowWriter("csv", rule.columns, "") for rule in rules}

    def take(self, batch: bytes, _: int = 0) -> Told:
        """Score released lines; `batch` is what `write_lines` gave."""
        lines = read_lines(batch)
        self._skus.intern(lines)
        released = Released(lines, np.arange(len(lines)))
        scored = self._scoring.score(released, self._skus.count, None, self._skus.save())
        rows = {}
        for detector, found in zip(self._scoring.detectors, scored.found, strict=True):
            name = type_of(detector)
            written = self._writers[name].write(lines, released.order, found)
            if len(written):
                rows[name] = bytes(written)
        return Told(rows=rows)

    def finish(self, *, has_ended: bool) -> Told:  # as an Ordering's
        """Nothing is pending here."""
        return Told()

    def save(self) -> bytes:
        """Return everything that a restart needs."""
        arrays = {f"skus.{name}": array for name, array in self._skus.save().items()}
        arrays |= self._scoring.save(self._skus.count)
        return freeze(msgspec.json.encode({"version": VERSION}), arrays)

    def restore(self, saved: bytes) -> None:
        """Take over what `save` gave.

        Raises:
            StateError: it is of another version of Oddlot.
        """
        meta, arrays = thaw(saved)
        if msgspec.json.decode(meta) != {"version": VERSION}:
            raise StateError(
                f"savepoint: must be of version {VERSION}; got {meta.decode()}: use the Oddlot that"
                " wrote it, or start without it"
            )
        skus = {k.removeprefix("skus."): v for k, v in arrays.items() if k.startswith("skus.")}
        self._skus.restore(skus)
        self._scoring.restore(arrays)


class Logged:
    """A slot that can be restored at each batch from a snapshot and the batches after it.

    Python functions are not asked by Flink when it makes a checkpoint, so the state that it
    keeps must be right after each batch. Writing all of it each time would cost more than the
    scoring; the batch itself is at hand, and scoring it again gives the same.

    Args:
        slot: an `Ordering` or a `RuleSlot`.
        log: Flink's map of batches by number, or a dict.
        kept: reads and replaces the snapshot.
    """

    def __init__(self, slot: Ordering | RuleSlot, log: Any, kept: Any) -> None:
        self._slot = slot
        self._log = log
        self._kept = kept
        self._logged = 0
        self._snapshot = 0
        self._number = 0
        snapshot = kept.value()
        if snapshot:
            slot.restore(bytes(snapshot))
            self._snapshot = len(snapshot)
        entries = sorted(log.items())
        for number, entry in entries:
            now_us, batch = msgspec.msgpack.decode(bytes(entry), type=tuple[int, bytes])
            self._call(batch, now_us)
            self._number = int(number) + 1
            self._logged += len(entry)

    def take(self, batch: bytes, now_us: int) -> Told:
        """Take a batch, and log it."""
        told = self._call(batch, now_us)
        self._note(batch, now_us)
        return told

    def finish(self, now_us: int, *, has_ended: bool) -> Told:
        """Release what is pending; a mark in the log stands for it."""
        mark = _END if has_ended else _IDLE
        told = self._call(mark, now_us)
        self._note(mark, now_us)
        return told

    def _call(self, batch: bytes, now_us: int) -> Told:
        if batch in (_IDLE, _END):
            return self._slot.finish(has_ended=batch == _END)
        return self._slot.take(batch, now_us)

    def _note(self, batch: bytes, now_us: int) -> None:
        entry = msgspec.msgpack.encode((now_us, batch))
        self._logged += len(entry)
        if self._logged < max(_FEWEST, _LOGGED * self._snapshot):
            self._log.put(self._number, entry)
            self._number += 1
            return
        snapshot = self._slot.save()
        self._kept.update(snapshot)
        self._log.clear()
        self._snapshot, self._logged, self._number = len(snapshot), 0, 0


def split_detectors(config: Config) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rules, which know one SKU at a time, and the tests, which know the whole shop."""
    rules = tuple(one for one in config.detectors if one.is_rule)
    return rules, tuple(one for one in config.detectors if not one.is_rule)


def slot_of(sku: str) -> int:
    """Return the slot of a SKU; the same for ever, whatever the parallelism."""
    return zlib.crc32(sku.encode()) % SLOTS


def write_lines(lines: Lines) -> bytes:
    """Write a packed batch as bytes."""
    return msgspec.msgpack.encode((lines.line.tobytes(), bytes(lines.text)))


def read_lines(data: bytes) -> Lines:
    """Read what `write_lines` wrote; the lines can be changed."""
    line, text = msgspec.msgpack.decode(data, type=tuple[bytes, bytes])
    return Lines(np.frombuffer(bytearray(line), LINE), np.frombuffer(bytearray(text), np.uint8))


def freeze(meta: bytes, arrays: Mapping[str, Any]) -> bytes:
    """Write a checkpoint as packed bytes: numbers only, never code."""
    import zstandard

    pieces = [
        (name, describe(array.dtype), array.shape, np.ascontiguousarray(array).tobytes())
        for name, array in arrays.items()
    ]
    return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode((meta, pieces)))


def thaw(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Read what `freeze` wrote.

    Raises:
        StateError: it is not such bytes.
    """
    import zstandard

    try:
        plain = zstandard.ZstdDecompressor().decompress(data)
        meta, pieces = msgspec.msgpack.decode(
            plain, type=tuple[bytes, list[tuple[str, Any, tuple[int, ...], bytes]]]
        )
    except (zstandard.ZstdError, msgspec.MsgspecError):
        raise StateError("savepoint: must be one that Oddlot wrote; it is damaged") from None
    return meta, {
        name: np.frombuffer(bytearray(raw), restore_dtype(dtype)).reshape(shape)
        for name, dtype, shape, raw in pieces
    }


def write_told(told: Told) -> Iterator[tuple[str, str]]:
    """Yield what goes to files: the name of the output, and its lines without the last LF."""
    for name, records in (
        ("alerts", told.alerts),
        ("incidents", told.incidents),
        ("rejects", told.rejects),
    ):
        if records:
            yield name, b"\n".join(map(msgspec.json.encode, records)).decode()
    for rule, rows in told.rows.items():
        yield f"rows.{rule}", rows.removesuffix(b"\n").decode("utf-8", "replace")


def read_config(table: str) -> Config:
    """Read the config that the job was given: its table as JSON."""
    return from_table(msgspec.json.decode(table), "shop.toml", Path("/"))
