"""The shortest way for lines that are sent as they are, with a key that is found in them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Self

from oddlot.agent.flows import Flow
from oddlot.agent.keys import DIGEST_BYTES, LONGEST_KEY, SEARCHED
from oddlot.agent.outcomes import Outcome
from oddlot.agent.patience import convert_all
from oddlot.agent.patterns import compile_pattern

_Item = tuple[bytes, int]


class FastLines:
    """Finds keys by content or pattern in plain lines and leaves the others to `convert`.

    It gives what the long way gives, bit for bit: tests compare the two.
    """

    def __init__(self, flow: Flow, convert: Callable[[_Item], Outcome]) -> None:
        self._convert = convert
        self._longest = flow.longest_record - LONGEST_KEY - 1
        pattern = flow.options.partition_key_pattern
        self._pattern = compile_pattern(pattern) if pattern else None
        self._group = 1 if self._pattern and self._pattern.groups else 0

    @classmethod
    def build(cls, flow: Flow, convert: Callable[[_Item], Outcome]) -> Self | None:
        """Return None for flows that can only go the long way."""
        is_right = flow.keys_by_content and not flow.options.partition_key_field
        return None if flow.steps or flow.added or not is_right else cls(flow, convert)

    def convert_lines(self, records: Sequence[bytes], offsets: Sequence[int]) -> list[Outcome]:
        """Return what becomes of each line."""
        if self._pattern is None:
            return [self._hash(item) for item in zip(records, offsets, strict=True)]
        items = list(zip(records, offsets, strict=True))
        return convert_all(items, self._search, give_up)

    def _hash(self, item: _Item) -> Outcome:
        record = item[0]
        # A hash is of a text, whatever the bytes are.
        if len(record) > self._longest or not record.isascii():
            return self._convert(item)
        key = hashlib.blake2b(record, digest_size=DIGEST_BYTES).hexdigest()
        return Outcome(record + b"\n", key, "")

    def _search(self, item: _Item) -> Outcome:
        record = item[0]
        if len(record) > min(self._longest, SEARCHED) or not record.isascii():
            return self._convert(item)
        match = self._pattern.search(record) if self._pattern else None
        key = match[self._group] if match else None
        if not key or len(key) > LONGEST_KEY:
            return self._convert(item)
        return Outcome(record + b"\n", key.decode(), "")


def give_up(item: _Item) -> Outcome:
    """Return what becomes of a line that a regular expression takes too long for."""
    return Outcome(item[0], None, "too slow: a regular expression took too long for this line")
