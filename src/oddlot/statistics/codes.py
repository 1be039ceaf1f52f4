"""Codes one keystroke apart: a fixed table of known codes, and who in it a new one resembles."""

# Letter case does not count in the table. A code is looked up under every spelling that one slip
# would have made it of: some hundreds, but only once for each new code.

from __future__ import annotations

from itertools import pairwise

import numpy as np

from oddlot.engine.compiled import outlined

SLOTS = 1 << 17
MOST = SLOTS * 3 // 4  # codes that are kept; later ones are not known as neighbours
SHORTEST, LONGEST = 3, 24  # bytes; shorter codes all resemble each other
NEAR = 256  # neighbours that are looked at

# How a code differs from the one that was meant; NOT_NEAR comes last.
CASE, SWAPPED, CHANGED, EXTRA, MISSING, NOT_NEAR = range(6)

_MASK = SLOTS - 1
_START, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MARK, _SLOT = np.uint64(0xFFFFFFFF), np.uint64(40)
_ALPHABET = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", np.uint8)


@outlined
def _fold(byte):
    return byte + 32 if 65 <= byte <= 90 else byte


@outlined
def _hash(word, size):
    """Hash a folded code by FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/."""
    code = _START
    for i in range(size):
        code = (code ^ np.uint64(word[i])) * _PRIME
    return code


@outlined
def read_word(names, offset, sku, word):
    """Fill word with a SKU's folded code; return its size, 0 for one that is not looked at."""
    if sku + 1 >= len(offset):
        return 0
    start = offset[sku]
    size = offset[sku + 1] - start
    if size < SHORTEST or size > LONGEST:
        return 0
    for i in range(size):
        word[i] = _fold(names[start + i])
    return size


@outlined
def _look(names, offset, mark, owner, word, size, kind, near, kinds, count):
    """Append the known codes that a spelling stands for; return their number."""
    code = _hash(word, size)
    slot = np.int64(code >> _SLOT) & _MASK
    while owner[slot] != 0:
        if mark[slot] == np.uint32(code & _MARK) and count < len(near):
            sku = owner[slot] - 1
            start = offset[sku]
            is_same = offset[sku + 1] - start == size
            i = 0
            while is_same and i < size:
                is_same = _fold(names[start + i]) == word[i]
                i += 1
            if is_same:
                near[count] = sku
                kinds[count] = kind
                count += 1
        slot = (slot + 1) & _MASK
    return count


@outlined
def find_near(names, offset, mark, owner, word, size, near, kinds):
    """Find the known codes that a new one may have been meant for.

    Args:
        names, offset: bytes of all codes, and where each begins; one offset more than codes.
        mark, owner: the table; shape (SLOTS,).
        word, size: the new code from read_word; word has room for one byte more.
        near, kinds: shape (NEAR,): their SKUs and how the new code differs; updated in place.

    Returns:
        How many there are.
    """
    n = _look(names, offset, mark, owner, word, size, CASE, near, kinds, 0)
    for i in range(size - 1):
        if word[i] != word[i + 1]:
            word[i], word[i + 1] = word[i + 1], word[i]
            n = _look(names, offset, mark, owner, word, size, SWAPPED, near, kinds, n)
            word[i], word[i + 1] = word[i + 1], word[i]
    for i in range(size):
        right = word[i]
        # A digit is taken for a digit, a letter for a letter.
        first = 0 if right < 58 else 10
        last = 10 if right < 58 else 36
        if 48 <= right <= 57 or 97 <= right <= 122:
            for a in range(first, last):
                if _ALPHABET[a] != right:
                    word[i] = _ALPHABET[a]
                    n = _look(names, offset, mark, owner, word, size, CHANGED, near, kinds, n)
            word[i] = right
    other = np.empty(LONGEST + 1, np.uint8)
    for i in range(size):
        if i == 0 or word[i] != word[i - 1]:  # of a pair, either way out gives the same
            for k in range(size - 1):
                other[k] = word[k] if k < i else word[k + 1]
            n = _look(names, offset, mark, owner, other, size - 1, EXTRA, near, kinds, n)
    for i in range(size + 1):
        for k in range(size):
            other[k if k < i else k + 1] = word[k]
        for a in range(len(_ALPHABET)):
            if i == 0 or _ALPHABET[a] != word[i - 1]:
                other[i] = _ALPHABET[a]
                n = _look(names, offset, mark, owner, other, size + 1, MISSING, near, kinds, n)
    return n


@outlined
def keep_code(mark, owner, word, size, sku):
    """Put a code into the table, in place."""
    code = _hash(word, size)
    slot = np.int64(code >> _SLOT) & _MASK
    while owner[slot] != 0:
        slot = (slot + 1) & _MASK
    mark[slot] = np.uint32(code & _MARK)
    owner[slot] = sku + 1


@outlined
def ways_of(word, size, kind):
    """Return how many wrong codes a slip of this kind could have made, about."""
    if kind == CASE:
        return 1.0
    if kind == SWAPPED:
        return size - 1.0
    if kind == MISSING:
        return size + 1.0
    if kind == EXTRA:
        return 10.0 * size
    ways = 0.0
    for i in range(size):
        ways += 9.0 if word[i] < 58 else 25.0
    return ways


def define_word(code: str) -> bytes:
    """Return a code as read_word does; empty for one that is not looked at."""
    word = code.encode()
    return word.lower() if SHORTEST <= len(word) <= LONGEST else b""


def define_kind(word: bytes, other: bytes) -> int:
    """Return how a code differs from another, both folded."""
    if word == other:
        return CASE
    if len(word) == len(other):
        places = [i for i, (one, two) in enumerate(zip(word, other, strict=True)) if one != two]
        if len(places) == 1:
            pair = bytes([word[places[0]], other[places[0]]])
            return CHANGED if pair.isdigit() or pair.isalpha() else NOT_NEAR
        is_swap = any(
            other == word[:i] + word[i + 1 : i + 2] + word[i : i + 1] + word[i + 2 :]
            for i, _ in enumerate(pairwise(word))
        )
        return SWAPPED if is_swap else NOT_NEAR
    for longer, shorter, kind in ((word, other, EXTRA), (other, word, MISSING)):
        for i in range(len(longer)):
            if longer[:i] + longer[i + 1 :] == shorter and (
                kind == EXTRA or longer[i : i + 1].isalnum()
            ):
                return kind
    return NOT_NEAR


def define_ways(word: bytes, kind: int) -> float:
    """Return what ways_of does."""
    changed = sum(9 if byte < 58 else 25 for byte in word)
    size = len(word)
    return float([1, size - 1, changed, 10 * size, size + 1][kind])
