"""JSON texts of records, as short as they can be or a line a field, without a parse in between."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

_SPECIAL = re.compile(r'[\x00-\x1f"\\]')
_ESCAPES = {chr(code): f"\\u{code:04X}" for code in range(0x20)}
_ESCAPES |= {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r"}
_ESCAPES |= {'"': r"\"", "\\": r"\\"}


def is_plain(text: str) -> bool:
    """Tell whether a text stands in JSON as it is."""
    return text.isprintable() and '"' not in text and "\\" not in text


def quote(text: str | None) -> str:
    """Return a text as JSON has it, or null; other characters than control ones stay."""
    if text is None:
        return "null"
    if is_plain(text):
        return f'"{text}"'
    return f'"{_SPECIAL.sub(lambda match: _ESCAPES[match[0]], text)}"'


_quote_name = lru_cache(maxsize=4096)(quote)


def write(fields: Mapping[str, str | None], *, is_pretty: bool) -> str:
    """Return an object; every value is a text or null."""
    if not is_pretty:
        if is_plain("".join([value for value in fields.values() if value])):  # most are
            pairs = [
                f'{_quote_name(name)}:"{value}"' if value is not None else f"{quote(name)}:null"
                for name, value in fields.items()
            ]
        else:
            pairs = [f"{_quote_name(name)}:{quote(value)}" for name, value in fields.items()]
        return f"{{{','.join(pairs)}}}"
    rows = ",\n".join(f"  {quote(name)} : {quote(value)}" for name, value in fields.items())
    return f"{{\n{rows}\n}}" if rows else "{ }"


def template(names: Sequence[str], more: str) -> bytes:
    r"""Return the compact object with %b in place of each value, which must be plain.

    Args:
        names: of the values.
        more: fields to add as they stand in JSON; \x01 and \x02 become %d and %08x.
    """
    pieces = [f'{quote(name)}:"\0"' for name in names] + ([more] if more else [])
    text = f"{{{','.join(pieces)}}}".replace("%", "%%")
    # None of the three is in a quoted text.
    return text.replace("\0", "%b").replace("\1", "%d").replace("\2", "%08x").encode()


def insert(text: str, more: str) -> str:
    """Return the text of an object with more of its fields at the end."""
    inside = text.rstrip()[:-1].rstrip()
    return f"{inside}{'' if inside.lstrip() == '{' else ','}{more}}}"
