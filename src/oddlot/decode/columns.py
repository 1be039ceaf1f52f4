"""Which column of a source holds what: well-known names, the user's own, and advice."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from oddlot.errors import ConfigError
from oddlot.schema import REQUIRED_ROLES, ROLES

# The names that are taken without asking, by role; the first that a source has is it.
KNOWN_NAMES = {
    "sku": ("StockCode", "SKU", "SkuCode", "ProductCode", "ItemCode", "ProductID", "ItemID"),
    "quantity": ("Quantity",),
    "time": (
        "InvoiceDate",
        "InvoiceTime",
        "InvoiceDateTime",
        "OrderDate",
        "OrderTime",
        "OrderDateTime",
        "EventTime",
        "Timestamp",
        "DateTime",
        "Date",
        "Time",
    ),
    "invoice": (
        "InvoiceNo",
        "Invoice",
        "InvoiceNumber",
        "InvoiceID",
        "OrderNo",
        "Order",
        "OrderNumber",
        "OrderID",
    ),
    "price": ("UnitPrice", "Price"),
    "customer": ("CustomerID", "CustomerNo", "CustomerNumber", "Customer"),
    "description": ("Description", "ProductName", "ItemName"),
    "country": ("Country",),
    "event": ("EventID", "Event"),
}

# Names that are likely but not certain enough to be taken: they only make the advice.
_LIKELY_NAMES = {
    "sku": ("product", "item", "article", "code", "barcode", "ean", "upc", "artikel", "codigo"),
    "quantity": ("qty", "units", "pieces", "count", "amount", "menge", "cantidad", "unidades"),
    "time": ("when", "day", "created", "createdat", "purchasedate", "saledate", "datum", "fecha"),
}
_SHOWN_NAMES = 20


def map_columns(name: str, names: Sequence[str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each role that has one, in the order of ROLES.

    Args:
        name: the source as the user knows it.
        names: the source's columns, in order.
        wanted: role to column, as the user declared; goes before the well-known names.

    Raises:
        ConfigError: a required role has no column, or a declared column is not there.
    """
    for role, column in wanted.items():
        if role not in ROLES:
            raise ConfigError(
                f"{name}: a mapped field must be one of: {', '.join(ROLES)}; "
                f"got {role!r}{did_you_mean(role, ROLES)}"
            )
        if column not in names:
            raise ConfigError(
                f"{name}: no column {column!r} for {role}{did_you_mean(column, names)}; "
                f"columns are: {_list(names)}"
            )
    columns = {}
    for role in ROLES:
        if found := [wanted[role]] if role in wanted else _find(role, names):
            columns[role] = found[0]
        # A date in one column and a clock time in another would pass for midnights.
        if role == "time" and len(found) > 1:
            raise ConfigError(
                f"{name}: columns {' and '.join(map(show_name, found))} could each be time; "
                f"say which: oddlot detect {shlex.quote(name)} --map {_mapping(role, found[0])}"
            )
    missing = [role for role in REQUIRED_ROLES if role not in columns]
    if missing:
        raise ConfigError(_advise(name, names, missing, columns.values()))
    return columns


def count_known(names: Iterable[str]) -> int:
    """Count the names that are well-known names of some role."""
    known = {_fold(known) for some in KNOWN_NAMES.values() for known in some}
    return sum(_fold(name) in known for name in names)


def did_you_mean(got: str, names: Iterable[str]) -> str:
    """Return " (did you mean X?)" with the nearest of some names, or ""."""
    by_fold = {_fold(name): name for name in reversed(list(names))}
    nearest = get_close_matches(_fold(got), by_fold, n=1, cutoff=0.6)
    return f" (did you mean {show_name(by_fold[nearest[0]])}?)" if nearest else ""


def show_name(name: str) -> str:
    """Return a column's name fit for a line of text, whatever bytes it came from."""
    shown = name if name.isprintable() else repr(name)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _find(role: str, names: Sequence[str]) -> list[str]:
    """Return the columns that could be a role's, the best first: exact names, then alike ones."""
    exact = [known for known in KNOWN_NAMES[role] if known in names]
    alike = [name for known in KNOWN_NAMES[role] for name in names if _fold(name) == known.lower()]
    return list(dict.fromkeys(exact + alike))


def _fold(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", name).lower()


def _advise(name: str, names: Sequence[str], missing: Sequence[str], taken: Iterable[str]) -> str:
    """Say which role has no column, one with a likely column first."""
    free = [column for column in names if column and column not in set(taken)]
    guesses = {role: guess for role in missing if (guess := _guess(role, free))}
    role = next(iter(guesses), missing[0])
    return (
        f"{name}: no column for {role}; columns are: {_list(names)}. Map it: "
        f"oddlot detect {shlex.quote(name)} --map {_mapping(role, guesses.get(role, 'COLUMN'))}"
    )


def _guess(role: str, names: Sequence[str]) -> str | None:
    by_fold = {_fold(name): name for name in reversed(names)}
    likely = (*(_fold(known) for known in KNOWN_NAMES[role]), *_LIKELY_NAMES[role])
    for hint in likely:
        if nearest := get_close_matches(hint, by_fold, n=1, cutoff=0.75):
            return by_fold[nearest[0]]
    for hint in likely:
        for fold, name in by_fold.items():
            if len(hint) > 2 and hint in fold:
                return name
    return None


def _mapping(role: str, column: str) -> str:
    return shlex.quote(f"{role}={column}") if column.isprintable() else f"{role}=COLUMN"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(show_name(name) for name in names[:_SHOWN_NAMES] if name)
    return f"{shown}, and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else shown
