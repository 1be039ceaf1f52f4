"""The shortest way for plain CSV lines: each field in its place in a ready JSON object."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from typing import Self
from zlib import crc32

from oddlot.agent import json_text
from oddlot.agent.added import CHECK, OFFSET, Adder
from oddlot.agent.flows import Flow
from oddlot.agent.keys import DIGEST_BYTES, LONGEST_KEY
from oddlot.agent.options import CsvToJson
from oddlot.agent.outcomes import Outcome

_PLAIN = bytes(code for code in range(0x20, 0x7F) if chr(code) not in '"\\')
_DIGITS = 20  # of an offset, at most


class FastCsv:
    """Converts the lines that need no care and leaves the others to `convert`.

    It gives what the long way gives, bit for bit: tests compare the two.
    """

    def __init__(
        self,
        step: CsvToJson,
        flow: Flow,
        adder: Adder,
        convert: Callable[[tuple[bytes, int]], Outcome],
    ) -> None:
        names = step.custom_field_names
        self._names = names
        self._character = step.character
        self._delimiter = step.character.encode()
        self._strips = step.knows_quotes
        self._plain = _PLAIN + self._delimiter
        self._adder = adder
        self._convert = convert
        self._field = flow.options.partition_key_field
        self._column = names.index(self._field) if self._field else -1
        self._hashes = flow.keys_by_content and not self._field
        self._longest = flow.longest_record - LONGEST_KEY

    @classmethod
    def build(
        cls, flow: Flow, adder: Adder, convert: Callable[[tuple[bytes, int]], Outcome]
    ) -> Self | None:
        """Return None for flows that can only go the long way."""
        step = flow.steps[0] if len(flow.steps) == 1 else None
        if not isinstance(step, CsvToJson) or step.json_format != "COMPACT":
            return None
        names, options = step.custom_field_names, flow.options
        if (
            not step.character
            or not step.character.isascii()
            or len({*names, *flow.added}) < len(names) + len(flow.added)
            or options.partition_key_pattern
            or (options.partition_key_field and options.partition_key_field not in names)
            or (flow.keys_by_content and not options.partition_key_field and adder.is_used)
        ):
            return None
        return cls(step, flow, adder, convert)

    def convert_lines(self, records: Sequence[bytes], offsets: Sequence[int]) -> list[Outcome]:
        """Return what becomes of each line."""
        template = json_text.template(self._names, self._adder.more) + b"\n"
        places = [letter for letter in self._adder.more if letter in (OFFSET, CHECK)]
        longest = self._longest - len(template) - _DIGITS * len(places)
        convert, delimiter, columns = self._convert, self._delimiter, len(self._names)
        field, column, hashes, strips = self._field, self._column, self._hashes, self._strips
        is_plain = self._is_plain(b"".join(records))
        done: list[Outcome] = []
        append = done.append
        for index, record in enumerate(records):
            line = record.removesuffix(b"\r") if strips else record
            values: list[bytes] | None
            if is_plain or self._is_plain(line):
                values = line.split(delimiter)
            else:
                values = self._unquote(line) if strips and b'"' in line else None
            # An empty last column is null in one mode, and a blank line in another.
            if not values or len(values) != columns or not values[-1] or len(line) > longest:
                append(convert((record, offsets[index])))
                continue
            key = None
            if field:
                key = values[column].decode()
                if not key or len(key) > LONGEST_KEY:
                    append(convert((record, offsets[index])))
                    continue
            if places:
                offset = offsets[index]
                more = [offset if place == OFFSET else crc32(record) for place in places]
                data = template % (*values, *more)
            else:
                data = template % tuple(values)
            if hashes:
                key = hashlib.blake2b(data[:-1], digest_size=DIGEST_BYTES).hexdigest()
            append(Outcome(data, key, ""))
        return done

    def _unquote(self, line: bytes) -> list[bytes] | None:
        try:
            row = next(csv.reader((line.decode(),), delimiter=self._character, strict=True))
        except (UnicodeDecodeError, csv.Error):
            return None
        return [value.encode() for value in row] if json_text.is_plain("".join(row)) else None

    def _is_plain(self, data: bytes) -> bool:
        if not data.translate(None, self._plain):
            return True
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return False
        return json_text.is_plain(text.replace("\t", "") if self._delimiter == b"\t" else text)
