"""Lines of a file become the records of a flow: converted, with fields added, keyed and cut."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

from oddlot.agent.added import Adder
from oddlot.agent.fast_csv import FastCsv
from oddlot.agent.fast_lines import FastLines, give_up
from oddlot.agent.flows import Flow
from oddlot.agent.keys import Keyer
from oddlot.agent.options import CsvToJson, LogToJson
from oddlot.agent.outcomes import Outcome, Place
from oddlot.agent.patience import convert_all
from oddlot.agent.patterns import compile_pattern, guard, is_risky
from oddlot.agent.steps import Draft, decode, make_step
from oddlot.errors import DataError

__all__ = ["Outcome", "Place", "Processor"]

_BLANK = "blank"
_KEY_BYTES = 32  # of a random key, which is chosen where the record is sent
_BOM = b"\xef\xbb\xbf"
_LINE_START = 4096  # bytes of a line that patterns for whole lines are compared with


class Processor:
    r"""Makes records of a flow's lines; the same line at the same place gives the same record.

    A line comes without its line end, and a record of several lines has \n between them.

    Attributes:
        counts: of what was sent all the same: `cut` to the longest record, `not_utf8` read as
            ISO-8859-1, `extra_columns` without a name, `no_key` in a field or pattern, so at
            random, `no_fields` as it is no JSON object or has such a field, `no_machine` as
            EC2's metadata service does not answer.
        is_verbatim: a line that is not too long is sent as it is, with a random key.
        starts: tells whether a record of several lines begins here; None if each line is one.
        goes_on: tells whether a record ends within quotes, and the next line belongs to it;
            None if none can; False without a quote in it.
        is_footer: tells whether a line is left out; None if none is.
        header_lines: left out at the beginning of a file.
    """

    def __init__(
        self,
        flow: Flow,
        host: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        options = flow.options
        self.counts: Counter[str] = Counter()
        self.header_lines = options.skip_header_lines
        self.starts = _compile_start(options.multi_line_start_pattern)
        self.is_footer = _compile_start(options.file_footer_pattern)
        self._steps = [make_step(step, self.counts, clock) for step in flow.steps]
        self._keyer = Keyer(flow, self.counts)
        self._adder = Adder(flow, socket.gethostname() if host is None else host, self.counts)
        self._is_json = any(isinstance(step, CsvToJson | LogToJson) for step in flow.steps)
        self._longest = flow.longest_record
        self._random_key = 0 if flow.is_firehose else _KEY_BYTES
        self._end = options.truncated_record_terminator.encode()
        self._has_patterns = (
            options.partition_key_pattern is not None
            or any(isinstance(step, LogToJson) for step in flow.steps)
            or any(isinstance(step, CsvToJson) and not step.character for step in flow.steps)
        )
        self.is_verbatim = not (self._steps or self._keyer.is_used or self._adder.is_used)
        self.goes_on = self._find_goes_on(flow)
        self._fast = FastCsv.build(flow, self._adder, self._convert) or FastLines.build(
            flow, self._convert
        )

    def _find_goes_on(self, flow: Flow) -> Callable[[bytes], bool] | None:
        first = flow.steps[0] if flow.steps else None
        if not isinstance(first, CsvToJson) or not first.knows_quotes or self.starts is not None:
            return None
        reader = self._steps[0].reader

        def goes_on(record: bytes) -> bool:
            return b'"' in record and reader.is_open(decode(record)[0])

        return goes_on

    def convert(self, record: bytes, place: Place) -> Outcome:
        """Return what becomes of one record."""
        return self.convert_lines([record], [place.offset], place.path, place.file)[0]

    def convert_lines(
        self, records: Sequence[bytes], offsets: Sequence[int], path: str, file: str = ""
    ) -> list[Outcome]:
        """Return what becomes of each record, in order.

        Args:
            records: without line end.
            offsets: where each begins in its file.
            path: of the file, for the field of that name.
            file: its name and, behind #, a hash of its beginning, which goes into recordId.
        """
        self._adder.enter(path, file)
        if self._fast is not None:
            return self._fast.convert_lines(records, offsets)
        items = list(zip(records, offsets, strict=True))
        if not self._has_patterns:
            return [self._convert(item) for item in items]
        return convert_all(items, self._convert, give_up)

    def _convert(self, item: tuple[bytes, int]) -> Outcome:
        record, offset = item
        if self.is_verbatim:
            return self._finish(record + b"\n", None, record)
        text, is_utf8 = decode(record[3:] if not offset and record.startswith(_BOM) else record)
        self.counts["not_utf8"] += not is_utf8
        draft = Draft(text)
        try:
            for step in self._steps:
                step.apply(draft)
                if draft.is_blank:
                    return Outcome(b"", None, _BLANK)
        except DataError as error:
            return Outcome(record, None, str(error))
        key = self._keyer.find(draft, text)
        made = self._adder.add(draft, offset, record)
        if not self._steps and made is text:
            return self._finish(record + b"\n", key, record)  # byte for byte, UTF-8 or not
        return self._finish(f"{made}\n".encode(), key, record)

    def _finish(self, data: bytes, key: str | None, record: bytes) -> Outcome:
        longest = self._longest - (self._random_key if key is None else len(key.encode()))
        if len(data) <= longest:
            return Outcome(data, key, "")
        if self._is_json:
            # Half an object is of no use to anyone.
            return Outcome(
                record, None, f"too long: must be at most {longest} bytes as JSON; got {len(data)}"
            )
        self.counts["cut"] += 1
        return Outcome(cut(data, longest - len(self._end)) + self._end, key, "")


def _compile_start(pattern: str | None) -> Callable[[bytes], bool] | None:
    if pattern is None:
        return None
    match = compile_pattern(pattern).match

    def fits(line: bytes) -> bool:
        return match(line[:_LINE_START]) is not None

    return guard(fits, default=False) if is_risky(pattern) else fits


def cut(data: bytes, size: int) -> bytes:
    """Return the first `size` bytes at most, without half a UTF-8 character at the end."""
    size = max(size, 0)
    begin = size
    while begin > max(0, size - 3) and begin < len(data) and 0x80 <= data[begin] < 0xC0:
        begin -= 1
    # What is no UTF-8 is cut where it is.
    is_start = begin < len(data) and data[begin] >= 0xC0
    return data[: begin if is_start else size]
