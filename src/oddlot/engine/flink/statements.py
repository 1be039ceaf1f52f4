"""The SQL files of deploy/flink/sql, as statements that Flink runs one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from oddlot.errors import ConfigError

# A string, a name in backticks or a comment may hold a semicolon that ends nothing.
_PIECE = re.compile(r"'(?:[^']|'')*'|`[^`]*`|--[^\n]*|/\*.*?\*/|;|[^;'`/-]+|.", re.DOTALL)
_OPTION = re.compile(r"[\w.-]+")
_TABLE = re.compile(r"[A-Za-z_]\w*")


def folder() -> Path:
    """Return the folder of the SQL files: in the package, or in a checkout.

    Raises:
        ConfigError: neither has it.
    """
    here = Path(__file__).parent / "sql"
    checkout = Path(__file__).parents[4] / "deploy" / "flink" / "sql"
    for place in (here, checkout):
        if place.is_dir():
            return place
    raise ConfigError(f"{here}: must have Flink's SQL files; they are not there")


def read(files: list[Path]) -> list[str]:
    """Read the statements of several files, in order, without comments and semicolons.

    Raises:
        ConfigError: a file cannot be read.
    """
    statements: list[str] = []
    for file in files:
        try:
            text = file.read_text("utf-8")
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: must be UTF-8; it is not") from None
        statements += split(text)
    return statements


def split(text: str) -> list[str]:
    """Cut SQL at the semicolons that end statements."""
    statements, current = [], ""
    for piece in _PIECE.findall(text):
        if piece == ";":
            statements.append(current.strip())
            current = ""
        elif not piece.startswith(("--", "/*")):
            current += piece
    statements.append(current.strip())
    return [statement for statement in statements if statement]


def override(statements: list[str], options: Mapping[str, str]) -> list[str]:
    """Set options of tables, by statements that follow their making.

    Args:
        statements: as `read` gives them.
        options: "table.option" to its value, such as {"orders.path": "file:///srv/orders"}.

    Raises:
        ConfigError: no statement makes such a table, or the option is no name.
    """
    changed = list(statements)
    for name, value in options.items():
        table, _, option = name.partition(".")
        if not _TABLE.fullmatch(table) or not _OPTION.fullmatch(option):
            raise ConfigError(f"--set {name}: must be TABLE.OPTION=VALUE; got {name!r}")
        made = re.compile(rf"CREATE\s+TABLE\s+`?{table}`?\s", re.IGNORECASE)
        places = [i for i, one in enumerate(changed) if made.match(one)]
        if not places:
            raise ConfigError(f"--set {name}: must name a table that the files make; got {table}")
        quoted = value.replace("'", "''")
        changed.insert(places[0] + 1, f"ALTER TABLE {table} SET ('{option}' = '{quoted}')")
    return changed


def names() -> list[str]:
    """Return the names of the files that come with oddlot."""
    return sorted(file.stem for file in folder().glob("*.sql"))


def find(name: str) -> Path:
    """Return the file of a name, which may be the user's own.

    Raises:
        ConfigError: there is neither.
    """
    if Path(name).suffix == ".sql":
        return Path(name)
    if name not in names():
        raise ConfigError(f"{name}: must be a .sql file or one of: {', '.join(names())}")
    return folder() / f"{name}.sql"
