"""Regular expressions as the original's users wrote them, for Java, in Python's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from oddlot import catalog
from oddlot.agent.patience import convert_all
from oddlot.errors import ConfigError

_LONGEST = 1 << 16  # bytes of a pattern
# Java's names for sets, within US-ASCII as Java has them unless told otherwise.
_SETS = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t\n\x0b\f\r",
}
_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|\Z)"
    r"|\\(?P<not>[pP])\{(?P<set>\w+)\}"
    r"|\\(?P<escape>.)"
    r"|\(\?<(?P<name>[A-Za-z]\w*)>"
    r"|(?P<other>.)",
    re.DOTALL,
)
_REPEAT = re.compile(r"(?:(?P<endless>[*+]|\{\d+,\})|\?|\{\d+(?:,\d+)?\})(?P<never_again>\+)?\??")


def compile_pattern(pattern: str) -> re.Pattern[bytes]:
    """Compile a checked pattern for bytes; other characters than US-ASCII stand for themselves."""
    return re.compile(translate(pattern).encode())


def compile_text_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a checked pattern for texts."""
    return re.compile(translate(pattern), re.ASCII)


def check_pattern(pattern: str, place: str) -> list[str]:
    """Return what there is to say about a pattern that can be used.

    Raises:
        ConfigError: it is no regular expression, or one that only Java knows.
    """
    if len(pattern) > _LONGEST:
        raise ConfigError(f"{place} must be shorter than {_LONGEST}; got {len(pattern)} characters")
    try:
        re.compile(translate(pattern), re.ASCII)
        compile_pattern(pattern)
    except (re.error, KeyError, OverflowError, RecursionError) as error:
        reason = f"\\p{{{error.args[0]}}} is not known" if isinstance(error, KeyError) else error
        raise ConfigError(
            f"{place} must be a regular expression; got {catalog.show(pattern)}: {reason}"
        ) from None
    if repeats_within_repeat(pattern):
        slow = "a line that does not fit may take very long; it is given up then"
        return [f"{place}: repeats a group that repeats something, as (a+)+ does: {slow}"]
    return []


def translate(pattern: str) -> str:
    r"""Return a Java pattern as Python has it: \Q...\E, \p{Alpha}, \h, \z, (?<name>...).

    Raises:
        KeyError: a set \p{...} is not known.
    """
    return "".join(_translate(pattern))


def _translate(pattern: str) -> Iterator[str]:
    is_in_set = False
    for token in _TOKEN.finditer(pattern):
        if token["quoted"] is not None:
            yield re.escape(token["quoted"])
        elif token["set"]:
            inner = _SETS[token["set"]]
            if token["not"] == "P":
                if is_in_set:
                    raise KeyError(f"^{token['set']}")
                yield f"[^{inner}]"
            else:
                yield inner if is_in_set else f"[{inner}]"
        elif token["escape"]:
            yield _translate_escape(token["escape"], is_in_set=is_in_set)
        elif token["name"]:
            yield f"(?P<{token['name']}>" if not is_in_set else token[0]
        else:
            other = token["other"]
            is_in_set = (is_in_set or other == "[") and other != "]"
            yield other


def _translate_escape(letter: str, *, is_in_set: bool) -> str:
    if letter == "h":
        return r" \t" if is_in_set else r"[ \t]"
    if letter == "R" and not is_in_set:
        return r"(?:\r\n|[\n\r])"
    if letter == "e":
        return r"\x1b"
    if is_in_set:
        return f"\\{letter}"
    # Java's \Z also stands before a last line end; Python's is Java's \z.
    return {"z": r"\Z", "Z": r"(?=\n?\Z)"}.get(letter, f"\\{letter}")


def repeats_within_repeat(pattern: str) -> bool:
    """Tell whether an endless repeat holds another one, so that matching may take for ever."""
    holds = [False]  # for each open group: whether there is an endless repeat in it
    is_in_set = False
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 2 if letter == "\\" else 1
        if is_in_set:
            is_in_set = letter != "]"
            if is_in_set:
                continue
        elif letter == "[":
            is_in_set = True
            position += pattern.startswith(("]", "^]"), position) * (
                1 + pattern.startswith("^", position)
            )
            continue
        elif letter == "(":
            holds.append(False)
            continue
        inner = letter == ")" and len(holds) > 1 and holds.pop()
        repeat = _REPEAT.match(pattern, position)
        is_endless = _is_endless(repeat)
        if inner and is_endless:
            return True
        holds[-1] |= bool(inner or is_endless)
        position = repeat.end() if repeat else position
    return False


def _is_endless(repeat: re.Match[str] | None) -> bool:
    """Tell whether a repeat has no bound and is tried again with less."""
    return repeat is not None and bool(repeat["endless"]) and not repeat["never_again"]


def is_risky(pattern: str) -> bool:
    """Tell whether matching may take long: more than one endless repeat, or one in another."""
    count = sum(map(_is_endless, _REPEAT.finditer(pattern)))
    return count > 1 or repeats_within_repeat(pattern)


def guard(fits: Callable[[bytes], bool], *, default: bool) -> Callable[[bytes], bool]:
    """Return a test of a line that says `default` if it takes too long."""

    def guarded(line: bytes) -> bool:
        return convert_all([line], fits, lambda _: default)[0]

    return guarded
