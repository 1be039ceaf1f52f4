"""JSON as people write it in config files: with comments, and errors that name the line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from oddlot import catalog
from oddlot.errors import ConfigError

# A text comes first, so that // within one is no comment.
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|\#[^\n]*|/\*.*?\*/', re.DOTALL)


def read_json(path: Path) -> dict[str, Any]:
    """Read a table from a JSON file with // # and /* */ comments.

    Raises:
        ConfigError: the file cannot be read, is no JSON, says a key twice or is no table.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected an agent.json") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be UTF-8; got a byte at offset {error.start}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None

    def refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise ConfigError(f"{path}: {key} must be said once; got it twice")
            table[key] = value
        return table

    try:
        table = json.loads(_TOKEN.sub(_blank, text), object_pairs_hook=refuse_twins)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}: line {error.lineno}: must be JSON; got: {error.msg} at column {error.colno}"
            f"{_hint(error.msg)}"
        ) from None
    except RecursionError:
        raise ConfigError(f"{path}: must be JSON; got brackets too deep to read") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: must be a table {{...}}; got {catalog.show(table)}")
    return table


def _blank(token: re.Match[str]) -> str:
    """Return a text as it is, and a comment as blanks, so that lines keep their numbers."""
    return token[0] if token[0].startswith('"') else re.sub(r"[^\n]", " ", token[0])


def _hint(message: str) -> str:
    return r" (in a regular expression write \\ for each \)" if "escape" in message else ""
