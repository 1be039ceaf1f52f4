"""Lines of web servers and of syslog become JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.flows import make_flow
from oddlot.agent.records import Outcome, Place, Processor

COMMON = '64.242.88.10 - - [07/Mar/2004:16:10:02 -0800] "GET /a/b HTTP/1.1" 200 6291'
FIELDS = {
    "host": "64.242.88.10",
    "ident": None,
    "authuser": None,
    "datetime": "07/Mar/2004:16:10:02 -0800",
    "request": "GET /a/b HTTP/1.1",
    "response": "200",
    "bytes": "6291",
}
SYSLOG = "Oct  6 20:53:32 till-1 shop.py[42]: order 5: [late]"
NAMED = {
    "hostname": "till-1",
    "program": "shop.py",
    "processid": "42",
    "message": "order 5: [late]",
}


def convert(log_format: str, line: str, **options: Any) -> Outcome:
    step = {"optionName": "LOGTOJSON", "logFormat": log_format, **options}
    return Processor(make_flow(step)).convert(line.encode(), Place("access.log", 0))


@pytest.mark.parametrize(
    ("log_format", "line", "expected"),
    [
        ("COMMONAPACHELOG", COMMON, FIELDS),
        ("COMMONAPACHELOG", COMMON + "\r", FIELDS),
        (
            "COMMONAPACHELOG",
            r'::1 - Ana Ruiz [x] "GET /\"q\" HTTP/1.0" 304 -',
            {
                "host": "::1",
                "ident": None,
                "authuser": "Ana Ruiz",
                "datetime": "x",
                "request": r"GET /\"q\" HTTP/1.0",
                "response": "304",
                "bytes": None,
            },
        ),
        (
            "COMBINEDAPACHELOG",
            COMMON + ' "-" "Mozilla/5.0 (X11)"',
            {**FIELDS, "referrer": None, "agent": "Mozilla/5.0 (X11)"},
        ),
        (
            "APACHEERRORLOG",
            "[Thu Feb 16 16:56:19.240650 2017] [core:error] [pid 10719:tid 140] "
            "[client 1.1.1.1:60890] AH00124: too many",
            {
                "timestamp": "Thu Feb 16 16:56:19.240650 2017",
                "module": "core",
                "severity": "error",
                "processid": "10719",
                "tid": "140",
                "client": "1.1.1.1:60890",
                "message": "AH00124: too many",
            },
        ),
        (
            "APACHEERRORLOG",
            "[Thu Feb 16 16:56:19 2017] [:error] [pid 7] PHP Notice: x\n#0 main",
            {
                "timestamp": "Thu Feb 16 16:56:19 2017",
                "module": "",
                "severity": "error",
                "processid": "7",
                "tid": None,
                "client": None,
                "message": "PHP Notice: x\n#0 main",
            },
        ),
        (
            "APACHEERRORLOG",
            "[Fri Sep 09 10:42:29 2011] [error] [client: 127.0.0.1] File does not exist",
            {
                "timestamp": "Fri Sep 09 10:42:29 2011",
                "module": None,
                "severity": "error",
                "processid": None,
                "tid": None,
                "client": "127.0.0.1",
                "message": "File does not exist",
            },
        ),
        ("SYSLOG", SYSLOG, {"timestamp": "Oct  6 20:53:32", **NAMED}),
        ("SYSLOG", f"<34>{SYSLOG}", {"timestamp": "Oct  6 20:53:32", **NAMED}),
        (
            "SYSLOG",
            "Oct 16 20:53:32 till-1 kernel: x",
            {
                "timestamp": "Oct 16 20:53:32",
                "hostname": "till-1",
                "program": "kernel",
                "processid": None,
                "message": "x",
            },
        ),
        (
            "RFC3339SYSLOG",
            SYSLOG.replace("Oct  6 20:53:32", "2026-10-06T20:53:32.123+02:00"),
            {"timestamp": "2026-10-06T20:53:32.123+02:00", **NAMED},
        ),
    ],
)
def test_a_known_format_is_read(
    log_format: str, line: str, expected: dict[str, str | None]
) -> None:
    outcome = convert(log_format, line)
    assert outcome.problem == ""
    assert list(json.loads(outcome.data).items()) == list(expected.items())


WORD = st.text(st.sampled_from("aZ09.:/é_%"), min_size=1, max_size=8)
TEXT = st.text(st.sampled_from('aZ9 []():-="\\'), max_size=12)
QUOTED = st.text(st.sampled_from("aZ9 []():-="), max_size=12)


@given(st.tuples(WORD, WORD, WORD, WORD, QUOTED, WORD, WORD, QUOTED, QUOTED))
def test_what_apache_writes_is_read_back(values: tuple[str, ...]) -> None:
    line = '{} {} {} [{}] "{}" {} {} "{}" "{}"'.format(*values)
    read = json.loads(convert("COMBINEDAPACHELOG", line).data)
    assert list(read.values()) == [None if value == "-" else value for value in values]


@given(st.tuples(WORD, st.sampled_from(["cron", "postfix/smtpd", "a b"]), st.integers(1, 99), TEXT))
def test_what_syslog_writes_is_read_back(values: tuple[str, str, int, str]) -> None:
    host, program, number, message = values
    line = f"Nov 24 01:02:03 {host} {program}[{number}]: {message}"
    read = json.loads(convert("SYSLOG", line).data)
    said = None if message == "-" else message
    assert list(read.values()) == ["Nov 24 01:02:03", host, program, str(number), said]


def test_a_line_in_another_format_is_set_aside_and_not_lost() -> None:
    outcome = convert("SYSLOG", COMMON)
    assert outcome == Outcome(COMMON.encode(), None, "mismatch: must fit SYSLOG; got another line")
    assert convert("SYSLOG", COMMON, onMismatch="raw") == Outcome(f"{COMMON}\n".encode(), None, "")


def test_the_users_pattern_must_fit_the_whole_line() -> None:
    options = {
        "matchPattern": r"(?<sku>\w+) (\d+)(?: .*)?",
        "customFieldNames": ["sku", "quantity"],
    }
    outcome = convert("SYSLOG", "A1 5 rest", **options)
    assert outcome.data == b'{"sku":"A1","quantity":"5"}\n'
    assert convert("SYSLOG", "x A1 5", **options).problem.startswith("mismatch: must fit match")


def test_other_names_may_be_given_to_a_known_format() -> None:
    outcome = convert("SYSLOG", SYSLOG, customFieldNames=["when", "where"])
    assert json.loads(outcome.data) == {"when": "Oct  6 20:53:32", "where": "till-1"}


def test_a_very_long_line_is_not_compared_with_a_pattern() -> None:
    outcome = convert("SYSLOG", SYSLOG, longestMatchBytes=20)
    assert outcome.problem == "mismatch: SYSLOG is compared with 20 characters at most; got 51"
