"""Spans of time as people write them: "5s", "10m", "1h30m"."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from oddlot.errors import ConfigError

_UNITS_US = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_LONGEST_US = 36_500 * _UNITS_US["d"]
_WORDS = "a duration such as 500ms, 5s or 1h30m"
# Largest unit first, each at most once; \Z because $ lets a line end through.
_PATTERN = r"\A(?=.)" + "".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _UNITS_US) + r"\Z"
_WRITTEN = re.compile(_PATTERN)

# Types for options: read the text with `parse_duration`.
Duration = Annotated[str, Meta(pattern=_PATTERN, extra={"words": _WORDS})]
DurationOrOff = Annotated[
    str, Meta(pattern=rf"\Aoff\Z|{_PATTERN}", extra={"words": f"off or {_WORDS}"})
]


@lru_cache(maxsize=256)
def parse_duration(text: str) -> int:
    """Read a duration such as "5m" or "1h30m".

    Args:
        text: whole numbers with the units d, h, m, s, ms, us, the largest unit first.

    Returns:
        Microseconds, 0 to 36,500 days.

    Raises:
        ConfigError: the text is no duration; name the place and field around it.
    """
    written = _WRITTEN.match(text)
    if written is None:
        raise ConfigError(f"must be {_WORDS}; got {text!r}")
    span_us = sum(
        int(count) * unit_us
        for count, unit_us in zip(written.groups(), _UNITS_US.values(), strict=True)
        if count
    )
    if span_us > _LONGEST_US:
        raise ConfigError(f"must be at most 36500d; got {text!r}")
    return span_us
