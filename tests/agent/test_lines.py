"""Files cut into records: the same ones wherever blocks end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from oddlot.agent.lines import Cutter

Rule = Callable[[bytes], bool] | None


class Rules:
    """How records are found, without the rest of a processor."""

    def __init__(
        self,
        starts: Rule = None,
        goes_on: Rule = None,
        is_footer: Rule = None,
        header_lines: int = 0,
    ) -> None:
        self.starts = starts
        self.goes_on = goes_on
        self.is_footer = is_footer
        self.header_lines = header_lines


def is_start(line: bytes) -> bool:
    return line[:1].isdigit()


def is_open(record: bytes) -> bool:
    return record.count(b'"') % 2 == 1


def cut_all(
    rules: Rules, text: bytes, ends: list[int], longest: int = 1 << 20
) -> list[tuple[int, bytes]]:
    """Cut a text in blocks that end at these lines."""
    cutter = Cutter(rules, longest, 0, Counter())
    lines = text.splitlines(keepends=True)
    edges = sorted({0, len(lines), *(end % (len(lines) + 1) for end in ends)})
    found: list[tuple[int, bytes]] = []
    position = 0
    for begin, end in pairwise(edges):
        block = b"".join(lines[begin:end])
        records, offsets, behind = cutter.cut(block, position)
        found += zip(offsets, records, strict=True)
        position += len(block)
        assert behind <= position
        assert behind == position or cutter.is_open
        assert all(offset < behind for offset in offsets)
    records, offsets = cutter.close()
    return found + list(zip(offsets, records, strict=True))


some_lines = st.lists(st.sampled_from([b"1", b"  a", b'"', b'2,"x', b'y"', b""]), min_size=1)
some_ends = st.lists(st.integers(0, 50))
some_rules = st.sampled_from([Rules(), Rules(starts=is_start), Rules(goes_on=is_open)])


@given(lines=some_lines, ends=some_ends, rules=some_rules)
def test_records_do_not_depend_on_where_blocks_end(
    lines: list[bytes], ends: list[int], rules: Rules
) -> None:
    text = b"".join(line + b"\n" for line in lines)
    assert cut_all(rules, text, ends) == cut_all(rules, text, [])


@given(lines=some_lines, ends=some_ends, rules=some_rules)
def test_records_hold_every_byte_once_and_in_order(
    lines: list[bytes], ends: list[int], rules: Rules
) -> None:
    text = b"".join(line + b"\n" for line in lines)
    records = cut_all(rules, text, ends)
    assert b"".join(record + b"\n" for _, record in records) == text
    for offset, record in records:
        assert text[offset : offset + len(record)] == record


def test_a_record_goes_on_to_the_next_start() -> None:
    records = cut_all(Rules(starts=is_start), b"1 a\n  b\n2 c\n\n3\n", [])
    assert records == [(0, b"1 a\n  b"), (8, b"2 c\n"), (13, b"3")]


def test_a_record_of_several_lines_is_divided_where_it_is_too_long() -> None:
    records = cut_all(Rules(starts=is_start), b"1\n" + b"x" * 9 + b"\n" + b"y" * 9 + b"\n", [], 12)
    assert [record for _, record in records] == [b"1\nxxxxxxxxx", b"yyyyyyyyy"]


def test_a_quote_that_is_never_closed_costs_its_line_only() -> None:
    text = b'1,"a\n' + b"2,b\n" * 300
    records = cut_all(Rules(goes_on=is_open), text, [50, 120])
    assert [record for _, record in records] == [b'1,"a', *[b"2,b"] * 300]


def test_footers_and_headers_are_left_out_and_counted() -> None:
    counts: Counter[str] = Counter()
    cutter = Cutter(Rules(is_footer=lambda line: line.startswith(b"#")), 100, 2, counts)
    data = b"h1\nh2\n1\n#end\n"
    begin = cutter.strip_headers(data)
    assert cutter.cut(data[begin:], begin) == ([b"1"], [6], len(data))
    assert counts == {"header_lines": 2, "footers": 1}


def test_headers_may_come_one_by_one() -> None:
    cutter = Cutter(Rules(), 100, 2, Counter())
    assert cutter.strip_headers(b"h1\n") == 3
    assert cutter.headers == 1
    assert cutter.strip_headers(b"h2\n1\n") == 3
    assert cutter.headers == 0
