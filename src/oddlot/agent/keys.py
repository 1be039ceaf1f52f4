"""Partition keys: at random, by a record's content, by one of its fields or by a pattern."""

from __future__ import annotations

import hashlib
from collections import Counter

from oddlot.agent.flows import Flow
from oddlot.agent.patterns import compile_text_pattern
from oddlot.agent.steps import Draft

LONGEST_KEY = 256  # characters, of Kinesis
DIGEST_BYTES = 16
SEARCHED = 16_384  # characters of a line that a pattern is looked for in


class Keyer:
    """Finds the partition key of a record."""

    def __init__(self, flow: Flow, counts: Counter[str]) -> None:
        options = flow.options
        self.is_used = flow.keys_by_content
        self._counts = counts
        self._field = options.partition_key_field
        self._pattern = (
            compile_text_pattern(options.partition_key_pattern)
            if options.partition_key_pattern
            else None
        )

    def find(self, draft: Draft, line: str) -> str | None:
        """Return the key; None for a random one.

        Args:
            draft: the record as it is sent, but for added fields and brackets.
            line: what it was made of.
        """
        if not self.is_used:
            return None
        if self._field:
            key = draft.find(self._field)
        elif self._pattern is not None:
            match = self._pattern.search(line[:SEARCHED])
            key = match[1 if self._pattern.groups else 0] if match else None
        else:
            return _digest(draft.text)
        if not key:
            self._counts["no_key"] += 1
            return None
        return key if len(key) <= LONGEST_KEY else _digest(key)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()
