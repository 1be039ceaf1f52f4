"""Lines with delimiters become JSON: by RFC 4180, or as the original does."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable

from oddlot.agent.options import CsvToJson
from oddlot.agent.patterns import compile_text_pattern
from oddlot.errors import DataError

Fields = dict[str, str | None]


class CsvReader:
    """Reads the fields of one record after another.

    In csvMode kinesis-agent, from its documentation and issues: the delimiter is a regular
    expression, quotes mean nothing, empty columns at the end are null and inner ones empty.
    In both modes missing columns are null, and ones without a name are left out and counted.

    Attributes:
        counts: extra_columns.
    """

    def __init__(self, step: CsvToJson, counts: Counter[str]) -> None:
        self.counts = counts
        self.is_pretty = step.json_format == "PRETTYPRINT"
        self.knows_quotes = step.knows_quotes
        self._names = step.custom_field_names
        self._delimiter = step.character if step.knows_quotes else ""
        self._split = _compile_split(step)
        self._open = _compile_open(self._delimiter or ",")

    def read(self, text: str) -> Fields:
        """Return the fields of a record by name.

        Raises:
            DataError: its quotes are wrong.
        """
        values = self._read_quoted(text) if self.knows_quotes else self._split(text)
        if len(values) > len(self._names):
            self.counts["extra_columns"] += 1
        missing = len(self._names) - len(values)
        return dict(zip(self._names, [*values, *[None] * missing], strict=False))

    def _read_quoted(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader((text,), delimiter=self._delimiter, strict=True), [])
        except csv.Error as error:
            raise DataError(f"quotes: {error}") from None

    def is_open(self, text: str) -> bool:
        """Tell whether a record ends within quotes, so that the next line belongs to it."""
        return self._open.fullmatch(text) is not None


def _compile_open(delimiter: str) -> re.Pattern[str]:
    """Return what fits whole fields and then a quote that is not closed."""
    inside = '(?:[^"]|"")*+'
    between = re.escape(delimiter)
    return re.compile(f'(?:(?:"{inside}"|(?!")[^{between}]*+){between})*+"{inside}')


def _compile_split(step: CsvToJson) -> Callable[[str], list[str]]:
    character = step.character
    pattern = compile_text_pattern(step.delimiter)

    def split(text: str) -> list[str]:
        if character:
            values = text.split(character)
        else:
            values, begin = [], 0
            for match in pattern.finditer(text):
                values.append(text[begin : match.start()])
                begin = match.end()
            values.append(text[begin:])
        if len(values) == 1:
            return values
        while values and not values[-1]:
            values.pop()
        return values

    return split
