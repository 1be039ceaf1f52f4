"""Fields that the agent adds to JSON records: where a record comes from."""

from __future__ import annotations

import zlib
from collections import Counter

from oddlot.agent import json_text
from oddlot.agent.flows import Flow
from oddlot.agent.steps import Draft, read_object

OFFSET = "\x01"  # stands for the offset in `more`; a quoted text never has it
CHECK = "\x02"  # stands for the check sum of the line


class Adder:
    """Adds host, path, offset and recordId to the records of one file at a time.

    Attributes:
        is_used: whether there is anything to add.
        more: the fields as they stand in JSON, with OFFSET and CHECK in their places.
    """

    def __init__(self, flow: Flow, host: str, counts: Counter[str]) -> None:
        self.is_used = bool(flow.added)
        self.more = ""
        self._added = flow.added
        self._host = host
        self._counts = counts

    def enter(self, path: str, file: str) -> None:
        """Say which file the next records are from."""
        # Its name may change when it is rotated; what it begins with does not.
        opening = file.rpartition("#")[2].partition("-")[0] or path
        values = {
            "host": json_text.quote(self._host),
            "path": json_text.quote(path),
            "offset": OFFSET,
            # Files may begin alike, so the line itself is in it too.
            "recordId": f'{json_text.quote(f"{opening}:")[:-1]}{OFFSET}:{CHECK}"',
        }
        self.more = ",".join(
            f"{json_text.quote(name)}:{values[kind]}" for name, kind in self._added.items()
        )

    def add(self, draft: Draft, offset: int, record: bytes) -> str:
        """Return the text of a record as it is sent.

        Args:
            draft: what was made of it.
            offset: where it begins in its file.
            record: its line.
        """
        text = self._insert(draft.text, offset, record) if self.is_used else draft.text
        return f"{'[' * draft.brackets}{text}{']' * draft.brackets}" if draft.brackets else text

    def _insert(self, text: str, offset: int, record: bytes) -> str:
        there = read_object(text)
        if there is None or not there.keys().isdisjoint(self._added):
            self._counts["no_fields"] += 1
            return text
        more = self.more.replace(OFFSET, str(offset)).replace(CHECK, check(record))
        return json_text.insert(text, more)


def check(record: bytes) -> str:
    """Return a check sum of a line, 8 digits."""
    return f"{zlib.crc32(record):08x}"
