"""One dataProcessingOption each, applied to the text of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from oddlot.agent import json_text
from oddlot.agent.csvs import CsvReader, Fields
from oddlot.agent.ec2 import Machine
from oddlot.agent.logs import LogReader
from oddlot.agent.options import (
    AddEc2Metadata,
    AddMetadata,
    CsvToJson,
    LogToJson,
    SingleLine,
    Step,
)
from oddlot.errors import DataError

_SPACES = "".join(map(chr, range(0x21)))  # what Java trims
_OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Draft:
    """A record while it is made.

    Attributes:
        text: without line end.
        is_blank: there is nothing to send.
        brackets: how many pairs stand around the text when it is sent.
    """

    __slots__ = ("_fields", "brackets", "is_blank", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_blank = False
        self.brackets = 0
        self._fields: Fields | None = None

    def become(self, fields: Fields, *, is_pretty: bool) -> None:
        """Make the text an object of these fields."""
        self._fields = fields
        self.text = json_text.write(fields, is_pretty=is_pretty)

    def find(self, name: str) -> str | None:
        """Return the value of a field as a text; None where there is none."""
        if self._fields is not None and name in self._fields:
            return self._fields[name]
        raw = (read_object(self.text) or {}).get(name)
        if raw is None:
            return None
        value = msgspec.json.decode(raw)
        return value if isinstance(value, str) or value is None else bytes(raw).decode()


def decode(record: bytes) -> tuple[str, bool]:
    """Return a line's text, and whether it is UTF-8; it is ISO-8859-1 if not."""
    try:
        return record.decode(), True
    except UnicodeDecodeError:
        return record.decode("iso-8859-1"), False


def read_object(text: str) -> dict[str, msgspec.Raw] | None:
    """Return the fields of a JSON object; None if the text is none."""
    if not text.startswith("{"):
        return None
    try:
        return _OBJECT.decode(text)
    except msgspec.DecodeError:
        return None


class _Applied(Protocol):
    reader: Any

    def apply(self, draft: Draft) -> None: ...


def make_step(step: Step, counts: Counter[str], clock: Callable[[], float]) -> _Applied:
    """Return what applies a step to drafts."""
    if isinstance(step, CsvToJson):
        return _Csv(step, counts)
    if isinstance(step, LogToJson):
        return _Log(step)
    if isinstance(step, SingleLine):
        return _Single(step)
    if isinstance(step, AddMetadata):
        return _Metadata(step, clock)
    if isinstance(step, AddEc2Metadata):
        return _Ec2(step, counts, clock)
    return _Brackets()


class _Csv:
    def __init__(self, step: CsvToJson, counts: Counter[str]) -> None:
        self.reader = CsvReader(step, counts)
        self._sends_raw = step.on_mismatch == "raw"

    def apply(self, draft: Draft) -> None:
        text = draft.text
        if self.reader.knows_quotes:
            text = text.removesuffix("\r")
            if not text:
                draft.is_blank = True
                return
        try:
            draft.become(self.reader.read(text), is_pretty=self.reader.is_pretty)
        except DataError:
            if not self._sends_raw:
                raise


class _Log:
    def __init__(self, step: LogToJson) -> None:
        self.reader = LogReader(step)
        self._sends_raw = step.on_mismatch == "raw"

    def apply(self, draft: Draft) -> None:
        try:
            fields = self.reader.read(draft.text.removesuffix("\r"))
        except DataError:
            if not self._sends_raw:
                raise
            return
        draft.become(fields, is_pretty=self.reader.is_pretty)


class _Single:
    reader = None

    def __init__(self, step: SingleLine) -> None:
        written = step.parse_options
        options = (written,) if isinstance(written, str) else written
        self._trims = "NO_TRIM" not in options
        self._between = "\\n" if "ESCAPE_NEW_LINE" in options else ""

    def apply(self, draft: Draft) -> None:
        lines = [line.removesuffix("\r") for line in draft.text.split("\n")]
        draft.text = self._between.join(
            line.strip(_SPACES) if self._trims else line for line in lines
        )


class _Metadata:
    reader = None

    def __init__(self, step: AddMetadata, clock: Callable[[], float]) -> None:
        self._head = f'{{"metadata":{msgspec.json.encode(step.metadata).decode()},"data":'
        self._clock = clock if step.timestamp else None

    def apply(self, draft: Draft) -> None:
        stamp = "" if self._clock is None else f',"ts":{int(1000 * self._clock())}'
        draft.text = f"{self._head}{json_text.quote(draft.text)}{stamp}}}"


class _Ec2:
    reader = None

    def __init__(
        self, step: AddEc2Metadata, counts: Counter[str], clock: Callable[[], float]
    ) -> None:
        self._machine = Machine(step.metadata_ttl, clock)
        self._counts = counts

    def apply(self, draft: Draft) -> None:
        known = self._machine.describe()
        there = read_object(draft.text)
        self._counts["no_machine"] += not known
        if there is None:
            self._counts["no_fields"] += 1
            return
        more = [
            f"{json_text.quote(k)}:{json_text.quote(v)}" for k, v in known.items() if k not in there
        ]
        if more:
            draft.text = json_text.insert(draft.text, ",".join(more))


class _Brackets:
    reader = None

    def apply(self, draft: Draft) -> None:
        draft.brackets += 1
