"""SKU codes as dense numbers, from a persistent dictionary; and each line's kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddlot.decode.reading import Kinds
from oddlot.decode.scan import PADDING, hash_bytes, is_ascii, mask_bytes, mix
from oddlot.engine.compiled import address, compiled, inlined, load8, load64, outlined, store8
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE, Bytes, Lines

# One entry: two to a cache line. Codes of up to 16 bytes are compared without leaving it.
_ENTRY = np.dtype(
    [("head", "<u8"), ("tail", "<u8"), ("hash", "<u4"), ("sku", "<i4"), ("length", "<i4"),
     ("is_charge", "<i4")],
    align=True,
)  # fmt: skip
_AHEAD = 32  # lines whose entries are touched before they are needed, so that misses overlap
_UNKNOWN = np.int32(2)  # whether a code is a charge: Python must say
_HALF, _MULTIPLIER = np.uint64(32), np.uint64(0x9E3779B97F4A7C15)
_A, _Z, _LOWER = np.uint8(ord("A")), np.uint8(ord("Z")), np.uint8(32)


@inlined
def hash_sku(head, tail, text, start, size):
    """Hash a code to 32 bits; head and tail are its first two words."""
    if size <= 8:
        h = (head ^ (head >> _HALF)) * _MULTIPLIER
        h = (h ^ (h >> _HALF)) * _MULTIPLIER
        return np.uint32(h >> _HALF)
    if size <= 16:
        return np.uint32(mix(head, tail) >> _HALF)
    return np.uint32(hash_bytes(text, start, size) >> _HALF)


@outlined
def charge_of(text, start, size, words):
    """Tell whether a code is a charge: 0, 1, or 2 where it is not ASCII and Python must say.

    words has a row (size, whether it is a prefix, bytes in lower case) for each rule.
    """
    if not is_ascii(text, start, start + size):
        return _UNKNOWN
    for j in range(len(words)):
        length = np.int64(words[j, 0])
        if size == length or (size > length and words[j, 1] == 1):
            i = 0
            while i < length:
                c = load8(text, start + i)
                if _A <= c <= _Z:
                    c |= _LOWER
                if c != words[j, i + 2]:
                    break
                i += 1
            if i == length:
                return np.int32(1)
    return np.int32(0)


@outlined
def is_equal(names, at, text, start, size):
    """Tell whether two codes longer than an entry holds are equal."""
    for i in range(size):
        if load8(names, at + i) != load8(text, start + i):
            return False
    return True


@inlined
def kind_of(row, text, prefix):
    """Return the kind of a line that is no charge; see Kinds.kind."""
    start = row.text + np.int64(row.invoice_at)
    for j in range(len(prefix)):
        size = np.int64(prefix[j, 0])
        if size <= np.int64(row.invoice_size):
            i = 0
            while i < size and load8(text, start + i) == prefix[j, i + 1]:
                i += 1
            if i == size:
                return RETURN
    if row.price == 0.0 and row.customer_size == 0:
        return ADJUSTMENT
    return RETURN if row.quantity < 0 else SALE


@compiled
def _intern(entry, offset, name, count, line, first, last, heap, words, prefix, answer):
    """Number the SKUs of line[first:last] and set the kinds.

    Args:
        entry, offset, name: the table, updated in place.
        count: how many SKUs it has.
        line, first, last, heap: the lines; their `sku` and `kind` are updated in place.
        words: see charge_of.
        prefix: shape (prefixes, 1 + bytes), a row (size, bytes) for each return prefix.
        answer: whether the first line's code is a charge, if that was asked; else 2.

    Returns:
        The count; where it stopped, for room or to ask whether that line's code is a charge;
        whether it asks.
    """
    text, names, room = address(heap), address(name), len(name)
    mask = np.int64(len(entry) - 1)
    seen = np.int64(0)
    codes = np.empty(_AHEAD, np.uint32)
    block = first
    while block < last:
        block_end = min(block + _AHEAD, last)
        for i in range(block, block_end):
            row = line[i]
            size = np.int64(row.sku_size)
            start = row.text + np.int64(row.sku_at)
            head = mask_bytes(load64(text, start), size)
            tail = mask_bytes(load64(text, start + 8), size - 8)
            code = hash_sku(head, tail, text, start, size)
            codes[i - block] = code
            seen += entry[np.int64(code) & mask].length
        for i in range(block, block_end):
            row = line[i]
            size = np.int64(row.sku_size)
            start = row.text + np.int64(row.sku_at)
            head = mask_bytes(load64(text, start), size)
            tail = mask_bytes(load64(text, start + 8), size - 8)
            code = codes[i - block]
            slot = np.int64(code) & mask
            while True:
                e = entry[slot]
                if e.head == head and e.tail == tail and e.length == size:
                    if size <= 16 or is_equal(names, offset[e.sku], text, start, size):
                        break
                if e.length == 0:
                    has_room = 2 * (count + 1) <= len(entry) and count + 1 < len(offset)
                    if not has_room or offset[count] + size > room:
                        return count, i, False, seen
                    is_charge = answer
                    if i > first or is_charge == _UNKNOWN:
                        is_charge = charge_of(text, start, size, words)
                        if is_charge == _UNKNOWN:
                            return count, i, True, seen
                    e.head, e.tail, e.hash, e.length, e.sku = head, tail, code, size, count
                    e.is_charge = is_charge
                    for j in range(size):
                        store8(names, offset[count] + j, load8(text, start + j))
                    offset[count + 1] = offset[count] + size
                    count += 1
                    break
                slot = (slot + 1) & mask
            row.sku = e.sku
            row.kind = CHARGE if e.is_charge == 1 else kind_of(row, text, prefix)
        block = block_end
    return count, last, False, seen


@compiled
def _fill(old, entry, offset, name, count, words):
    """Fill an empty table: with the entries of an old one, or else from the names (padded)."""
    names = address(name)
    mask = np.int64(len(entry) - 1)
    for i in range(len(old)):
        if old[i].length > 0:
            slot = np.int64(old[i].hash) & mask
            while entry[slot].length != 0:
                slot = (slot + 1) & mask
            entry[slot] = old[i]
    if len(old) > 0:
        return
    for sku in range(count):
        start = offset[sku]
        size = offset[sku + 1] - start
        head = mask_bytes(load64(names, start), size)
        tail = mask_bytes(load64(names, start + 8), size - 8)
        code = hash_sku(head, tail, names, start, size)
        slot = np.int64(code) & mask
        while entry[slot].length != 0:
            slot = (slot + 1) & mask
        e = entry[slot]
        e.head, e.tail, e.hash, e.length, e.sku = head, tail, code, size, sku
        e.is_charge = charge_of(names, start, size, words)


# Kernels have no types of their own; their callers have.
_number: Any = _intern
_refill: Any = _fill


class SkuTable:
    """The SKU codes seen so far, numbered from 0 in the order of their first line.

    Memory: 32 bytes for each entry (twice as many entries as SKUs, at least) and the code itself.
    """

    def __init__(self, kinds: Kinds) -> None:
        """Start with no SKU."""
        self.kinds = kinds
        self.count = 0
        self._entry = np.zeros(1 << 13, _ENTRY)
        self._offset = np.zeros(1 << 12, np.int64)
        self._names: Bytes = np.zeros(1 << 16, np.uint8)
        rules = [(sku.lower(), 0) for sku in kinds.charge_skus]
        rules += [(prefix.lower(), 1) for prefix in kinds.charge_prefixes]
        # A code in ASCII can equal no other rule.
        rules = [(rule, is_prefix) for rule, is_prefix in rules if rule.isascii()]
        self._words = _rows([[len(rule), p, *rule.encode()] for rule, p in rules], 2)
        prefixes = [prefix.encode() for prefix in kinds.return_prefixes]
        self._prefix = _rows([[len(prefix), *prefix] for prefix in prefixes], 1)

    def intern(self, lines: Lines) -> None:
        """Number the SKUs and set the kinds of a batch, in place."""
        at, total, answer = 0, len(lines), int(_UNKNOWN)
        line, text = lines.line, lines.text
        while at < total:
            self.count, at, asks, _ = _number(
                self._entry,
                self._offset,
                self._names[: len(self._names) - PADDING],
                self.count,
                line,
                at,
                total,
                text,
                self._words,
                self._prefix,
                answer,
            )
            answer = int(_UNKNOWN)
            if asks:
                answer = int(self.kinds.is_charge(lines.read(at, "sku")))
            elif at < total:
                self._grow(int(line["sku_size"][at]))

    def code(self, sku: int) -> str:
        """Return a SKU's code."""
        piece = self._names[self._offset[sku] : self._offset[sku + 1]]
        return piece.tobytes().decode("utf-8", "replace")

    def _grow(self, size: int) -> None:
        if self.count + 1 >= len(self._offset):
            self._offset = np.concatenate([self._offset, np.zeros_like(self._offset)])
        if self._offset[self.count] + size > len(self._names) - PADDING:
            more = np.zeros(max(len(self._names), size + PADDING), np.uint8)
            self._names = np.concatenate([self._names, more])
        if 2 * (self.count + 1) > len(self._entry):
            entry = np.zeros(2 * len(self._entry), _ENTRY)
            _refill(self._entry, entry, self._offset, self._names, self.count, self._words)
            self._entry = entry

    def save(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint needs: the codes."""
        end = self._offset[self.count]
        return {"offset": self._offset[: self.count + 1], "names": self._names[:end]}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Take over what `save` gave."""
        offset, names = saved["offset"], saved["names"]
        self.count = len(offset) - 1
        room = 1 << max(12, (self.count + 2).bit_length())
        self._offset = np.zeros(room, np.int64)
        self._offset[: len(offset)] = offset
        self._names = np.zeros(max(1 << 16, 2 * len(names)) + PADDING, np.uint8)
        self._names[: len(names)] = names
        self._entry = np.zeros(2 * room, _ENTRY)
        _refill(self._entry[:0], self._entry, self._offset, self._names, self.count, self._words)
        for slot in np.flatnonzero(self._entry["is_charge"] == _UNKNOWN).tolist():
            code = self.code(int(self._entry["sku"][slot]))
            self._entry["is_charge"][slot] = self.kinds.is_charge(code)


def _rows(rules: list[list[int]], width: int) -> NDArray[np.int32]:
    rows = np.zeros((len(rules), max(map(len, rules), default=width)), np.int32)
    for row, rule in zip(rows, rules, strict=True):
        row[: len(rule)] = rule
    return rows
