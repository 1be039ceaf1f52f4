"""The rules for `kind`, and what a reading works out once."""

from __future__ import annotations

import math

import msgspec
import pytest

from oddlot.decode.reading import Kinds, Reading, Settings
from oddlot.schema import KINDS


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (("536365", "85123A", 6, 2.55, "17850"), "sale"),
        (("C536379", "22556", -12, 1.65, "17548"), "return"),
        (("C536379", "22556", 12, 1.65, "17548"), "return"),
        (("536365", "22556", -12, 1.65, "17548"), "return"),
        (("536414", "22139", 56, 0.0, ""), "adjustment"),
        (("536589", "21777", -10, 0.0, ""), "adjustment"),
        (("536589", "21777", -10, -0.0, ""), "adjustment"),
        (("537197", "22841", 1, 0.0, "12647"), "sale"),
        (("536365", "85123A", 6, math.nan, ""), "sale"),
        (("C536379", "D", -1, 27.5, "14527"), "charge"),
        (("536370", "POST", 3, 18.0, "12583"), "charge"),
        (("A563185", "B", 1, 11062.06, ""), "charge"),
    ],
)
def test_the_first_rule_that_fits_decides_the_kind(
    line: tuple[str, str, int, float, str], kind: str
) -> None:
    assert KINDS[Kinds().kind(*line)] == kind


@pytest.mark.parametrize("sku", ["POST", "post", "m", "M", "bank charges", "GIFT_0001_80", "cruk"])
def test_a_charge_is_known_in_any_case(sku: str) -> None:
    assert Kinds().is_charge(sku)


@pytest.mark.parametrize(
    "sku", ["85123A", "POSTER", "MM", "gift_0002_80", "PADS", "DCGS0003", " M"]
)
def test_goods_whose_code_resembles_a_charge_are_goods(sku: str) -> None:
    assert not Kinds().is_charge(sku)


def test_a_shop_without_prefixes_has_no_returns_by_invoice() -> None:
    kinds = Kinds(return_prefixes=(), charge_skus=(), charge_prefixes=())
    assert KINDS[kinds.kind("C1", "POST", 1, 2.5, "")] == "sale"


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="charge_sku"):
        msgspec.convert({"charge_sku": ["POST"]}, Kinds)
    with pytest.raises(msgspec.ValidationError, match="date"):
        msgspec.convert({"date": "iso"}, Settings)


def test_places_are_those_of_the_mapped_columns() -> None:
    reading = Reading("csv", {"sku": "b", "time": "c", "quantity": "a"}, ("a", "b", "c"))
    assert reading.places == {"sku": 1, "quantity": 0, "time": 2}


def test_settings_and_readings_survive_being_stored() -> None:
    settings = Settings(dates="day-first", columns={"quantity": "Qty"})
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings
    reading = Reading("csv", {"sku": "a"}, ("a",), delimiter=";")
    assert reading.places == {"sku": 0}
    assert msgspec.json.decode(msgspec.json.encode(reading), type=Reading) == reading
