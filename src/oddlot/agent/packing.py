"""Records made ready for the wire: one by one, or many small ones in a large one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

from oddlot.agent.follow import Block
from oddlot.streams import kpl

LANES = 64  # equal parts of the hash space; order is kept, and speed chosen, in each for itself
_LANE_BITS = 6
_WIDTH = 1 << (128 - _LANE_BITS)
_KEYS = 100_000  # whose lane is remembered
_KPL_RECORD = 24  # bytes around a record in a pack, at most
_KPL_PACK = 80


class Entry:
    """One record on the wire.

    Attributes:
        data: what is sent.
        key: partition key; "" for Firehose.
        hash_key: explicit hash key in decimal; "" for the key's own.
        lane: the part of the hash space that it goes to, from 0.
        blocks: what it acknowledges: blocks, and how many parts of each.
        lines: records of the user's in it.
        born_us: when the oldest of them was read.
        is_movable: whether any other key would do as well.
        is_suspect: whether a request with it was refused as wrong.
        size: bytes as limits count them.
    """

    __slots__ = (
        *("blocks", "born_us", "data", "hash_key", "is_movable", "is_suspect", "key", "lane"),
        *("lines", "size"),
    )

    def __init__(
        self,
        data: bytes,
        key: str,
        lane: int,
        blocks: list[tuple[Block, int]],
        lines: int,
        born_us: int,
        hash_key: str = "",
        *,
        is_movable: bool = False,
    ) -> None:
        self.data = data
        self.key = key
        self.lane = lane
        self.blocks = blocks
        self.lines = lines
        self.born_us = born_us
        self.hash_key = hash_key
        self.is_movable = is_movable
        self.is_suspect = False
        self.size = len(data) + len(key)


class _Pack:
    """Records that will be one."""

    __slots__ = ("blocks", "born_us", "key", "keys", "lines", "parts", "size")

    def __init__(self, born_us: int) -> None:
        self.parts: list[bytes] = []
        self.keys: list[str] = []
        self.key = ""
        self.lines = 0
        self.size = 0
        self.blocks: list[tuple[Block, int]] = []
        self.born_us = born_us


class Packer:
    """Packs the records of a flow.

    Args:
        aggregation: none, kpl or ndjson.
        most: bytes in a pack.
        has_keys: whether the service knows partition keys.
        choose: returns a random key and its lane, where there is no key of the record's own.

    Attributes:
        ready: what is to be sent, in order; the caller empties it.
        held: bytes in packs that are still open.
    """

    def __init__(
        self, aggregation: str, most: int, *, has_keys: bool, choose: Callable[[], tuple[str, int]]
    ) -> None:
        self.ready: list[Entry] = []
        self.held = 0
        self._is_single = aggregation == "none"
        self._is_kpl = aggregation == "kpl"
        self._most = most
        self._has_keys = has_keys
        self._choose = choose
        self._packs: dict[int, _Pack] = {}  # by lane; -1: any
        self._lanes: dict[str, int] = {}

    def add_text(self, block: Block) -> None:
        """Take a block's lines as they are, with their line ends."""
        data = block.data
        block.data = b""
        if self._is_single or self._is_kpl:
            lines = data.split(b"\n")
            lines.pop()
            self.add(block, [line + b"\n" for line in lines], None)
            return
        at = 0
        while at < len(data):
            pack = self._packs.get(-1) or self._begin(-1, block.born_us)
            room = self._most - pack.size
            cut = len(data)
            if cut - at > room:
                cut = data.rfind(b"\n", at, at + room) + 1
                if not cut and pack.size:
                    self._end(-1)
                    continue
                cut = cut or data.find(b"\n", at) + 1
            pack.parts.append(data[at:cut])
            pack.lines += data.count(b"\n", at, cut)
            pack.size += cut - at
            self.held += cut - at
            pack.blocks.append((block, 1))
            block.waiting += 1
            if pack.size >= self._most:
                self._end(-1)
            at = cut

    def add(self, block: Block, records: list[bytes], keys: list[str] | None) -> None:
        """Take records with their line ends.

        Args:
            block: that they come from.
            records: in order.
            keys: partition key of each; None: any.
        """
        if self._is_single:
            self._add_single(block, records, keys)
        elif keys is None or not self._has_keys:
            self._fill(block, records)
        else:
            self._fill_lanes(block, records, keys)

    def end(self, born_us: int) -> None:
        """Close every pack whose oldest record was read at that time or before."""
        for lane in [lane for lane, pack in self._packs.items() if pack.born_us <= born_us]:
            self._end(lane)

    def lane_of(self, key: str) -> int:
        """Return the lane that a key belongs to."""
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= _KEYS:
                self._lanes.clear()
            lane = self._lanes[key] = find_lane(key)
        return lane

    def _add_single(self, block: Block, records: list[bytes], keys: list[str] | None) -> None:
        blocks = [(block, 1)]
        born_us = block.born_us
        block.waiting += len(records)
        if not self._has_keys:
            self.ready += [Entry(data, "", 0, blocks, 1, born_us) for data in records]
        elif keys is None:
            choose = self._choose
            self.ready += [
                Entry(data, *choose(), blocks, 1, born_us, is_movable=True) for data in records
            ]
        else:
            lane_of = self.lane_of
            self.ready += [
                Entry(data, key, lane_of(key), blocks, 1, born_us)
                for data, key in zip(records, keys, strict=True)
            ]

    def _fill(self, block: Block, records: list[bytes]) -> None:
        """Fill the one pack that may go anywhere."""
        around = _KPL_RECORD if self._is_kpl else 0
        pack = self._packs.get(-1) or self._begin(-1, block.born_us)
        parts, size, taken = pack.parts, pack.size, 0
        for data in records:
            more = len(data) + around
            if size + more > self._most and parts:
                self._note(pack, block, size, taken)
                self._end(-1)
                pack = self._begin(-1, block.born_us)
                parts, size, taken = pack.parts, pack.size, 0
            parts.append(data)
            size += more
            taken += 1
        self._note(pack, block, size, taken)

    def _fill_lanes(self, block: Block, records: list[bytes], keys: list[str]) -> None:
        """Fill the pack of each record's lane."""
        is_kpl, most, packs, lanes = self._is_kpl, self._most, self._packs, self._lanes
        taken: dict[int, int] = {}
        held = 0
        for data, key in zip(records, keys, strict=True):
            lane = lanes.get(key)
            if lane is None:
                lane = self.lane_of(key)
            more = len(data) + (_KPL_RECORD + len(key) + 4 if is_kpl else 0)
            pack = packs.get(lane)
            if pack is not None and pack.size + more > most:
                self._note(pack, block, pack.size, taken.pop(lane, 0))
                self._end(lane)
                pack = None
            if pack is None:
                pack = self._begin(lane, block.born_us)
                pack.key = key
            pack.parts.append(data)
            if is_kpl:
                pack.keys.append(key)
            pack.size += more
            held += more
            taken[lane] = taken.get(lane, 0) + 1
        self.held += held
        for lane, count in taken.items():
            self._note(packs[lane], block, packs[lane].size, count)

    def _note(self, pack: _Pack, block: Block, size: int, taken: int) -> None:
        """Bring a pack's size and blocks up to date."""
        self.held += size - pack.size
        pack.size = size
        if taken:
            pack.lines += taken
            pack.blocks.append((block, taken))
            block.waiting += taken

    def _begin(self, lane: int, born_us: int) -> _Pack:
        pack = self._packs[lane] = _Pack(born_us)
        pack.size = _KPL_PACK if self._is_kpl else 0
        self.held += pack.size
        return pack

    def _end(self, lane: int) -> None:
        """Make an entry of a pack."""
        pack = self._packs.pop(lane)
        self.held -= pack.size
        if not pack.parts:
            return
        key, hash_key, is_movable = pack.key, "", False
        if not self._has_keys:
            lane = 0
        elif lane < 0:
            key, lane = self._choose()
            is_movable = not self._is_kpl  # its records carry the key, too
        else:
            hash_key = str(lane * _WIDTH + _WIDTH // 2)
        if len(pack.parts) == 1:  # also what is too large to have anything around it
            data = pack.parts[0]
        elif self._is_kpl:
            keys = pack.keys or [key] * len(pack.parts)
            data = kpl.pack(list(zip(keys, pack.parts, strict=True)), hash_key)
        else:
            data = b"".join(pack.parts)
        self.ready.append(
            Entry(
                data,
                key,
                lane,
                pack.blocks,
                pack.lines,
                pack.born_us,
                hash_key,
                is_movable=is_movable,
            )
        )


def find_lane(key: str) -> int:
    """Return the lane of a key, as Kinesis finds its shard: by the MD5 of it."""
    return hashlib.md5(key.encode(), usedforsecurity=False).digest()[0] >> (8 - _LANE_BITS)


def random_key(chance: random.Random) -> str:
    """Return a partition key of 32 hex digits."""
    return f"{chance.getrandbits(128):032x}"


def to_wire(entry: Entry, *, is_firehose: bool) -> dict[str, Any]:
    """Return an entry as boto3 takes it."""
    if is_firehose:
        return {"Data": entry.data}
    record: dict[str, Any] = {"Data": entry.data, "PartitionKey": entry.key}
    if entry.hash_key:
        record["ExplicitHashKey"] = entry.hash_key
    return record
