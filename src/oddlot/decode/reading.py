"""How one source is read: its columns, its dates and the rules for `kind`."""

from __future__ import annotations

import csv
from functools import cached_property
from typing import Any

import msgspec

from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, ROLES, SALE

FORMATS = ("csv", "jsonl")
ENCODINGS = ("auto", "utf-8", "iso-8859-1")
DATES = ("iso", "month-first", "day-first")


class Kinds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The declared rules that make an order line a sale, return, adjustment or charge.

    The defaults fit the Online Retail data set.

    Attributes:
        return_prefixes: an invoice that starts with one of these is a return.
        charge_skus: codes that are charges, whole and in any case.
        charge_prefixes: a code that starts with one of these, in any case, is a charge.
    """

    return_prefixes: tuple[str, ...] = ("C",)
    charge_skus: tuple[str, ...] = (
        "POST",
        "DOT",
        "M",
        "C2",
        "D",
        "S",
        "B",
        "BANK CHARGES",
        "AMAZONFEE",
        "CRUK",
    )
    charge_prefixes: tuple[str, ...] = ("gift_0001_",)

    @cached_property
    def _lower_skus(self) -> frozenset[str]:
        return frozenset(sku.lower() for sku in self.charge_skus)

    @cached_property
    def _lower_prefixes(self) -> tuple[str, ...]:
        return tuple(prefix.lower() for prefix in self.charge_prefixes)

    def is_charge(self, sku: str) -> bool:
        """Tell whether a code stands for money (postage, fees, vouchers) and not for stock."""
        lower = sku.lower()
        return lower in self._lower_skus or lower.startswith(self._lower_prefixes)

    def kind(self, invoice: str, sku: str, quantity: int, price: float, customer: str) -> int:
        """Return the line's kind, an index into KINDS; the first rule that fits decides.

        Args:
            invoice: the invoice's number.
            sku: the SKU's code.
            quantity: units, negative when they come back.
            price: of one unit; NaN where the source has none, which is not 0.
            customer: the customer's id; "" where there is none.
        """
        if self.is_charge(sku):
            return CHARGE
        if invoice.startswith(self.return_prefixes):
            return RETURN
        if price == 0 and customer == "":
            return ADJUSTMENT
        return RETURN if quantity < 0 else SALE


class Reading(msgspec.Struct, frozen=True, dict=True):
    """How to read one source; what `look` finds out.

    Attributes:
        format: "csv" or "jsonl".
        columns: role to column name in the source; roles are schema.ROLES.
        header: names of the CSV columns in order; () for JSON Lines.
        delimiter: what separates CSV fields, one character.
        encoding: "auto" (each record is UTF-8, or else ISO-8859-1), "utf-8" or "iso-8859-1".
        dates: "iso", "month-first" or "day-first".
        kinds: the rules for `kind`.
    """

    format: str
    columns: dict[str, str]
    header: tuple[str, ...]
    delimiter: str = ","
    encoding: str = "auto"
    dates: str = "iso"
    kinds: Kinds = Kinds()

    @cached_property
    def places(self) -> dict[str, int]:
        """Index into `header` of each role that has a column, in the order of ROLES."""
        return {
            role: self.header.index(self.columns[role])
            for role in ROLES
            if self.columns.get(role) in self.header  # JSON Lines have none
        }

    @cached_property
    def dialect(self) -> Any:
        """The rules for Python's csv; made once, because making them costs more than a record."""
        return csv.reader((), delimiter=self.delimiter).dialect


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user declared about a source; "auto" is decided when the source is looked at.

    Attributes:
        format: "auto", "csv" or "jsonl".
        delimiter: "auto" or one character.
        encoding: "auto", "utf-8" or "iso-8859-1".
        dates: "auto", "iso", "month-first" or "day-first".
        columns: role to column name, where the names are not the well-known ones.
        kinds: the rules for `kind`.
    """

    format: str = "auto"
    delimiter: str = "auto"
    encoding: str = "auto"
    dates: str = "auto"
    columns: dict[str, str] = {}
    kinds: Kinds = Kinds()
