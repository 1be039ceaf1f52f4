"""Where a record begins and what became of it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Place(NamedTuple):
    """Where a record begins: path and offset as the user can find it, and the file's own name."""

    path: str
    offset: int
    file: str = ""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a line.

    Attributes:
        data: the record as it is sent, with its line end; or the line, if there is a problem.
        key: partition key; None for a random one.
        problem: "" sends the record; "blank" does not, nor keeps it; any other text says why it
            is set aside, beginning with one word or two before a colon, to count it under.
    """

    data: bytes
    key: str | None
    problem: str
