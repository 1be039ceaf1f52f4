"""Lines of web servers and of syslog become JSON, by a known format or the user's own pattern."""

from __future__ import annotations

import re

from oddlot.agent.csvs import Fields
from oddlot.agent.options import LogToJson
from oddlot.agent.patterns import compile_text_pattern
from oddlot.errors import DataError

_QUOTED = r'"((?:[^"\\]|\\.)*+)"'  # Apache writes a quote within as \"
_COMMON = rf"(\S+) (\S+) (.+?) \[([^\]]+)\] {_QUOTED} (\S+) (\S+)"
_COMMON_NAMES = ("host", "ident", "authuser", "datetime", "request", "response", "bytes")
_ERROR = (
    r"\[([^\]]+)\] \[(?:([\w-]*):)?(\w+)\](?: \[pid (\d+)(?::tid (\d+))?\])?"
    r"(?: \[client:? ([^\]]+)\])? (.*)"
)
_PROGRAM = r"(\S+) ([^\[:]+?)(?:\[(\d+)\])?: ?(.*)"
_SYSLOG = r"(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) " + _PROGRAM
_RFC3339 = (
    r"(?:<\d{1,3}>)?(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[Zz]|[+-]\d\d:?\d\d)) "
    + _PROGRAM
)
_SYSLOG_NAMES = ("timestamp", "hostname", "program", "processid", "message")
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "COMMONAPACHELOG": (_COMMON, _COMMON_NAMES),
    "COMBINEDAPACHELOG": (
        f"{_COMMON} {_QUOTED} {_QUOTED}",
        (*_COMMON_NAMES, "referrer", "agent"),
    ),
    "APACHEERRORLOG": (
        _ERROR,
        ("timestamp", "module", "severity", "processid", "tid", "client", "message"),
    ),
    "SYSLOG": (_SYSLOG, _SYSLOG_NAMES),
    "RFC3339SYSLOG": (_RFC3339, _SYSLOG_NAMES),
}


class LogReader:
    """Reads the fields of a line that fits a pattern as a whole."""

    def __init__(self, step: LogToJson) -> None:
        own, names = FORMATS[step.log_format]
        self.is_pretty = step.json_format == "PRETTYPRINT"
        self.names = step.custom_field_names or names
        self._format = "matchPattern" if step.match_pattern else step.log_format
        self._longest = step.longest_match_bytes
        self._pattern = (
            compile_text_pattern(step.match_pattern)
            if step.match_pattern
            else re.compile(own, re.ASCII | re.DOTALL)
        )

    def read(self, text: str) -> Fields:
        """Return the fields of a line by name; null where it says - or nothing.

        Raises:
            DataError: the line is written in another way, or is too long to tell.
        """
        if len(text) > self._longest:
            raise DataError(
                f"mismatch: {self._format} is compared with {self._longest} characters at most; "
                f"got {len(text)}"
            )
        match = self._pattern.fullmatch(text)
        if match is None:
            raise DataError(f"mismatch: must fit {self._format}; got another line")
        values = [None if value == "-" else value for value in match.groups()]
        return dict(zip(self.names, values, strict=False))
