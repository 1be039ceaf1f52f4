"""SKU codes as dense numbers, from a persistent dictionary; and each line's kind."""

from __future__ import annotations

import numpy as np

from oddlot.decode.reading import Kinds
from oddlot.decode.scan import PADDING, hash_bytes, mask_bytes
from oddlot.engine.compiled import compiled, inlined, load64
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE, Bytes, Lines

# One entry: two to a cache line. Codes of up to 16 bytes are compared without leaving it.
_ENTRY = np.dtype(
    [("head", "<u8"), ("tail", "<u8"), ("hash", "<u4"), ("sku", "<i4"), ("size", "<i4")],
    align=True,
)
_AHEAD = 16  # lines whose entries are touched before they are needed, so that misses overlap


@inlined
def _equal(names, at, text, start, size):
    for i in range(size):
        if names[at + i] != text[start + i]:
            return False
    return True


@compiled
def _intern(entry, offset, names, count, line, first, last, text):
    """Number the SKUs of line[first:last]; returns the count and where it stopped for room."""
    mask = np.int64(len(entry) - 1)
    seen = np.int64(0)
    block = first
    while block < last:
        block_end = min(block + _AHEAD, last)
        for i in range(block, block_end):
            seen ^= entry[np.int64(line[i].sku) & mask].hash
        for i in range(block, block_end):
            row = line[i]
            size = np.int64(row.sku_size)
            start = row.text + np.int64(row.sku_at)
            head = mask_bytes(load64(text, start), size)
            tail = mask_bytes(load64(text, start + 8), size - 8)
            code = np.uint32(row.sku)
            slot = np.int64(code) & mask
            while True:
                e = entry[slot]
                if e.size == 0:
                    if 2 * (count + 1) > len(entry) or count + 1 >= len(offset):
                        return count, i, seen
                    if offset[count] + size > len(names):
                        return count, i, seen
                    e.head, e.tail, e.hash, e.size, e.sku = head, tail, code, size, count
                    for j in range(size):
                        names[offset[count] + j] = text[start + j]
                    offset[count + 1] = offset[count] + size
                    row.sku = count
                    count += 1
                    break
                if e.hash == code and e.size == size and e.head == head and e.tail == tail:
                    if size <= 16 or _equal(names, offset[e.sku], text, start, size):
                        row.sku = e.sku
                        break
                slot = (slot + 1) & mask
        block = block_end
    return count, last, seen


@compiled
def _rehash(entry, offset, names, count):
    """Fill an empty table with the SKUs that are known; names is padded."""
    mask = np.int64(len(entry) - 1)
    for sku in range(count):
        start = offset[sku]
        size = offset[sku + 1] - start
        code = np.uint32(hash_bytes(names, start, size) & np.uint64(0x7FFFFFFF))
        slot = np.int64(code) & mask
        while entry[slot].size != 0:
            slot = (slot + 1) & mask
        e = entry[slot]
        e.head = mask_bytes(load64(names, start), size)
        e.tail = mask_bytes(load64(names, start + 8), size - 8)
        e.hash, e.size, e.sku = code, size, sku


@compiled
def _classify(line, first, last, text, is_charge, prefix):
    """Set the kind of line[first:last]; prefix has a row (size, bytes) for each return prefix."""
    for i in range(first, last):
        row = line[i]
        if is_charge[row.sku]:
            row.kind = CHARGE
            continue
        kind = SALE
        start = row.text + np.int64(row.invoice_at)
        for j in range(len(prefix)):
            size = np.int64(prefix[j, 0])
            if size <= np.int64(row.invoice_size):
                is_same = True
                for b in range(size):
                    is_same = is_same and text[start + b] == prefix[j, b + 1]
                if is_same:
                    kind = RETURN
        if kind == SALE:
            if row.price == 0.0 and row.customer_size == 0:
                kind = ADJUSTMENT
            elif row.quantity < 0:
                kind = RETURN
        row.kind = kind


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
        self._is_charge = np.zeros(1 << 12, np.bool_)
        prefixes = [p.encode() for p in kinds.return_prefixes if p]
        self._prefix = np.zeros((len(prefixes), 1 + max(map(len, prefixes), default=0)), np.uint8)
        for row, prefix in zip(self._prefix, prefixes, strict=True):
            row[0] = len(prefix)
            row[1 : 1 + len(prefix)] = np.frombuffer(prefix, np.uint8)

    def intern(self, lines: Lines) -> None:
        """Number the SKUs and set the kinds of a batch, in place.

        The scan has left the 31-bit hash of each SKU's code in the line's `sku`.
        """
        at, total = 0, len(lines)
        known = self.count
        while at < total:
            self.count, at, _ = _intern(
                self._entry,
                self._offset,
                self._names[: len(self._names) - PADDING],
                self.count,
                lines.line,
                at,
                total,
                lines.text,
            )
            if at < total:
                self._grow(int(lines.line["sku_size"][at]))
        for sku in range(known, self.count):
            self._is_charge[sku] = self.kinds.is_charge(self.code(sku))
        _classify(lines.line, 0, total, lines.text, self._is_charge, self._prefix)

    def code(self, sku: int) -> str:
        """Return a SKU's code."""
        piece = self._names[self._offset[sku] : self._offset[sku + 1]]
        return piece.tobytes().decode("utf-8", "replace")

    def _grow(self, size: int) -> None:
        if self.count + 1 >= len(self._offset):
            self._offset = np.concatenate([self._offset, np.zeros_like(self._offset)])
            self._is_charge = np.concatenate([self._is_charge, np.zeros_like(self._is_charge)])
        if self._offset[self.count] + size > len(self._names) - PADDING:
            more = np.zeros(max(len(self._names), size + PADDING), np.uint8)
            self._names = np.concatenate([self._names, more])
        if 2 * (self.count + 1) > len(self._entry):
            self._entry = np.zeros(2 * len(self._entry), _ENTRY)
            _rehash(self._entry, self._offset, self._names, self.count)

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
        self._is_charge = np.zeros(room, np.bool_)
        for sku in range(self.count):
            self._is_charge[sku] = self.kinds.is_charge(self.code(sku))
        self._entry = np.zeros(2 * room, _ENTRY)
        _rehash(self._entry, self._offset, self._names, self.count)
