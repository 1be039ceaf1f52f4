"""The simulated shop: the same everywhere, like a real one, and at fault only where it says so."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddlot.decode.layout import look
from oddlot.decode.reading import Settings
from oddlot.decode.record import Fields, read_record
from oddlot.errors import ConfigError
from oddlot.schema import ADJUSTMENT, CHARGE, RETURN, SALE
from oddlot.simulate import (
    FAULT_TYPES,
    LEVELS,
    Fault,
    Shop,
    labels_csv,
    read_labels,
    simulate,
    write_shop,
)

SMALL = Shop(seed=7, skus=40, days=12, lines_per_day=80, quiet_days=3, faults_per_day=2)
# Long enough that every type and level is planted.
BIG = Shop(seed=3, skus=200, days=90, lines_per_day=600, quiet_days=18)
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000


def _text(shop: Shop, file_format: str = "csv") -> bytes:
    return b"".join(simulate(shop)[0].text(file_format))


def _read(text: bytes) -> list[Fields]:
    reading, skip = look("orders.csv", text, lambda: b"", Settings())
    return [read_record(record, reading) for record in text[skip:].splitlines()]


@pytest.fixture(scope="module")
def shop() -> tuple[list[Fields], list[Fields], list[Fault]]:
    """The lines of BIG, the lines of its twin without faults, and the faults."""
    orders, faults = simulate(BIG)
    twin = Shop(**{**_options(BIG), "faults_per_day": 0})
    return _read(b"".join(orders.text())), _read(_text(twin)), faults


def _options(shop: Shop) -> dict[str, Any]:
    return {name: getattr(shop, name) for name in shop.__struct_fields__}


def _between(lines: list[Fields], fault: Fault) -> list[Fields]:
    return [
        line
        for line in lines
        if fault.start_us <= line.time_us <= fault.end_us and fault.sku in (line.sku, "*")
    ]


def _of(faults: list[Fault], kind: str) -> list[Fault]:
    found = [fault for fault in faults if fault.type == kind]
    assert found, f"no {kind} was planted"
    return found


# The same everywhere.


def test_the_same_seed_gives_the_same_bytes_on_any_machine() -> None:
    orders, faults = simulate(SMALL)
    digest = hashlib.sha256(b"".join([*orders.text(), *orders.text("jsonl"), labels_csv(faults)]))
    assert digest.hexdigest() == "189ab0d2ad18832ff0239875bf1cda676262a9bddc0175c257fbd31308bb6fb7"


def test_another_seed_gives_another_shop() -> None:
    assert _text(SMALL) != _text(Shop(**{**_options(SMALL), "seed": 8}))


def test_reading_a_shop_twice_gives_the_same_lines() -> None:
    orders, _ = simulate(SMALL)
    assert b"".join(orders.text()) == b"".join(orders.text())


def test_json_lines_say_what_the_csv_says() -> None:
    rows = list(csv.DictReader(io.StringIO(_text(SMALL).decode(), newline="")))
    objects = [json.loads(line) for line in _text(SMALL, "jsonl").splitlines()]
    assert [{key: str(value) for key, value in one.items()} for one in objects] == rows


def test_month_first_dates_are_the_same_times() -> None:
    month_first = Shop(**{**_options(SMALL), "dates": "month-first"})
    text = _text(month_first)
    assert b",1/8/2024 " in text
    assert [line.time_us for line in _read(text)] == [line.time_us for line in _read(_text(SMALL))]


def test_times_are_multiples_of_the_resolution() -> None:
    fine = Shop(**{**_options(SMALL), "resolution_us": 250_000, "dates": "month-first"})
    coarse = Shop(**{**_options(SMALL), "resolution_us": HOUR_US})
    lines, _ = simulate(fine)
    times = np.concatenate([day["time_us"] for day in lines])
    assert (times % 250_000 == 0).all()
    assert (times % 60_000_000 != 0).any()
    hours = np.concatenate([day["time_us"] for day in simulate(coarse)[0]])
    assert (hours % HOUR_US == 0).all()


@settings(max_examples=15)
@given(
    st.builds(
        Shop,
        seed=st.integers(0, 1000),
        skus=st.integers(1, 30),
        days=st.integers(0, 9),
        lines_per_day=st.integers(1, 60),
        faults_per_day=st.floats(0, 5),
        quiet_days=st.integers(0, 3),
        start=st.sampled_from(["2024-01-08", "2023-12-20", "2024-02-28"]),
        resolution_us=st.sampled_from([1, 1_000_000, 60_000_000]),
    )
)
def test_any_shop_gives_readable_lines_in_order_of_time(shop: Shop) -> None:
    orders, faults = simulate(shop)
    text = b"".join(orders.text())
    lines = _read(text) if shop.days else []
    assert all(before.time_us <= after.time_us for before, after in pairwise(lines))
    assert [fault.id for fault in faults] == list(range(1, len(faults) + 1))
    assert all(fault.start_us <= fault.end_us for fault in faults)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"skus": 0}, "simulate: skus must be 1 to 10000000; got 0"),
        ({"seed": -1}, "simulate: seed must be 0 to"),
        ({"dates": "day-first"}, "simulate: dates must be iso or month-first; got 'day-first'"),
        ({"start": "8/1/2024"}, "simulate: start must be a date such as 2024-01-08"),
        ({"start": "2199-12-01", "days": 500}, "simulate: start must be in 1900 to 2199"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        simulate(Shop(**options))


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format must be one of: csv, jsonl; got 'xml'"):
        write_shop(SMALL, tmp_path / "shop", "xml")
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_a_written_shop_is_counted_and_its_labels_read_back(
    tmp_path: Path, file_format: str
) -> None:
    written = write_shop(SMALL, tmp_path / "shop", file_format)
    assert written.orders.name == f"orders.{file_format}"
    assert written.orders.read_bytes() == _text(SMALL, file_format)
    assert written.lines == len(_read(written.orders.read_bytes()))
    assert read_labels(written.labels) == written.faults != []


@pytest.mark.parametrize(
    "text", ["id,type\n1,write_off\n", "id,type,sku,start,end,level\n1,a,b,,,c\n"]
)
def test_a_damaged_labels_file_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"labels\.csv: line 2 must have id, type, sku"):
        read_labels(file)


# Like a real shop; the figures of Online Retail are in brackets.


def test_the_default_shop_has_the_shape_of_a_real_one() -> None:
    orders, _ = simulate(Shop(faults_per_day=0))
    lines = np.concatenate(list(orders))
    assert 95_000 < len(lines) < 110_000
    assert 0.015 < (lines["quantity"] < 0).mean() < 0.025  # 0.0196
    assert 0.20 < (lines["customer"] < 0).mean() < 0.30  # 0.249
    goods = lines[lines["sku"] < orders.goods.skus]
    by_sku = np.sort(np.bincount(goods["sku"], minlength=orders.goods.skus))[::-1]
    assert 0.3 < np.median(by_sku) / by_sku.mean() < 0.6  # 62 / 133
    assert 20 < by_sku[0] / np.median(by_sku) < 60  # 2,313 / 62
    assert 3 < by_sku[0] / by_sku[99] < 8  # 3.3 to 7, by share of the catalogue
    sales = goods[(goods["quantity"] > 0) & (goods["pence"] > 0)]
    assert 2 <= np.median(sales["quantity"]) <= 5  # 3
    assert 60 < np.quantile(sales["quantity"], 0.99) < 160  # 100
    assert np.quantile(sales["quantity"], 0.9999) > 500  # 1,440
    packs = Counter(sales["quantity"].tolist())
    assert min(packs[6], packs[12], packs[24]) > 3 * max(packs[11], packs[13], packs[23])
    assert 150 < np.median(sales["pence"]) < 300  # 208
    is_invoice = (lines["is_return"] == 0) & (lines["pence"] > 0)
    sizes = np.unique(lines["number"][is_invoice], return_counts=True)[1]
    assert 17 < sizes.mean() < 25  # 20.9
    assert 9 < np.median(sizes) < 16  # 13


def test_the_shop_is_closed_on_sundays_at_night_and_over_christmas() -> None:
    orders, _ = simulate(Shop(skus=50, days=40, lines_per_day=100, start="2023-12-01"))
    times = np.concatenate([day["time_us"] for day in orders])
    hours = times % DAY_US // HOUR_US
    assert hours.min() >= 7
    assert hours.max() < 21
    dates = {datetime.date(1970, 1, 1) + datetime.timedelta(int(us // DAY_US)) for us in times}
    assert not {date for date in dates if date.weekday() == 6}
    assert not {date for date in dates if (date.month, date.day) in ((12, 25), (12, 31), (1, 1))}
    assert datetime.date(2024, 1, 3) in dates


def test_november_sells_more_than_february() -> None:
    orders, _ = simulate(Shop(skus=200, days=340, lines_per_day=60, faults_per_day=0))
    months = Counter(
        (np.datetime64(0, "us") + int(day["time_us"][0])).astype("datetime64[M]").item().month
        for day in orders
        for _ in range(len(day))
    )
    assert months[11] > 2 * months[2]


def test_every_kind_of_line_is_there(shop: tuple[list[Fields], list[Fields], list[Fault]]) -> None:
    _, clean, _ = shop
    kinds = Counter(line.kind for line in clean)
    assert set(kinds) == {SALE, RETURN, ADJUSTMENT, CHARGE}
    assert kinds[SALE] > 0.95 * len(clean)
    assert {line.description for line in clean if line.kind == ADJUSTMENT} >= {"", "damaged"}
    assert any("," in line.description for line in clean)
    assert any("£" in line.description for line in clean)


def test_goods_come_back_from_the_customer_who_bought_them(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    _, clean, _ = shop
    bought: dict[tuple[str, str], int] = {}
    returns = 0
    for line in clean:
        sale = line.customer, line.sku
        if line.kind == SALE:
            bought[sale] = max(line.quantity, bought.get(sale, 0))
        elif line.kind == RETURN:
            assert line.invoice.startswith("C")
            assert -line.quantity <= bought[sale]
            returns += 1
    assert returns > 100


# At fault only where it says so.


def test_the_twin_without_faults_differs_only_in_what_the_labels_name(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    def content(line: Fields) -> tuple[int, str, int, float, str, int]:
        # Invoice numbers move on where faults add an invoice.
        return line.time_us, line.sku, line.quantity, line.price, line.customer, line.kind

    lines, clean, faults = shop
    changed = Counter(map(content, lines))
    changed.subtract(Counter(map(content, clean)))
    blamed = {(fault.sku, fault.start_us, fault.end_us) for fault in faults}
    outages = [fault for fault in faults if fault.sku == "*"]
    for (time_us, sku, *_), count in changed.items():
        if count == 0:
            continue
        assert any(
            sku in name.split("|") and start_us <= time_us <= end_us
            for name, start_us, end_us in blamed
        ) or any(time_us // DAY_US == outage.start_us // DAY_US for outage in outages)


def test_every_type_and_level_is_planted_after_the_quiet_days(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, _, faults = shop
    assert {fault.type for fault in faults} == set(FAULT_TYPES)
    for kind in FAULT_TYPES[:-1]:
        assert {fault.level for fault in _of(faults, kind)} == set(LEVELS), kind
    quiet_us = lines[0].time_us // DAY_US * DAY_US + BIG.quiet_days * DAY_US
    assert min(fault.start_us for fault in faults) >= quiet_us
    assert [fault.start_us for fault in faults] == sorted(fault.start_us for fault in faults)


def test_a_quantity_spike_is_far_above_what_the_sku_sells(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, clean, faults = shop
    for fault in _of(faults, "quantity_spike"):
        usual = np.quantile([line.quantity for line in clean if line.sku == fault.sku], 0.95)
        largest = max(line.quantity for line in _between(lines, fault))
        assert largest >= {"easy": 10, "medium": 4, "hard": 2}[fault.level] * usual


def test_a_price_error_is_off_by_a_factor_of_three_or_more(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, clean, faults = shop
    for fault in _of(faults, "price_error"):
        before = Counter(line.price for line in _between(clean, fault))
        after = Counter(line.price for line in _between(lines, fault))
        (wrong,), (right,) = after - before, before - after
        assert not right / 2.5 < wrong < right * 2.5


def test_a_silent_sku_sells_nothing_where_its_twin_sells(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, clean, faults = shop
    missed = dict.fromkeys(LEVELS, 0)
    for fault in _of(faults, "silent_sku"):
        assert not [line for line in _between(lines, fault) if line.kind == SALE]
        missed[fault.level] += len(_between(clean, fault))
    assert missed["easy"] > missed["medium"] > 0
    assert missed["hard"] > 0


def test_a_demand_surge_multiplies_the_lines_of_a_sku(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, clean, faults = shop
    for fault in _of(faults, "demand_surge"):
        rate = sum(line.sku == fault.sku for line in clean) / 75
        days = 1 + (fault.end_us - fault.start_us) // DAY_US
        assert len(_between(lines, fault)) >= 1.5 * rate * days
        assert len(_between(lines, fault)) >= 7


def test_a_return_surge_comes_from_several_customers(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, _, faults = shop
    for fault in _of(faults, "return_surge"):
        returns = [line for line in _between(lines, fault) if line.kind == RETURN]
        assert len(returns) >= {"easy": 10, "medium": 6, "hard": 4}[fault.level]
        assert len({line.customer for line in returns}) >= 3
        assert len({line.invoice for line in returns}) >= 4


def test_a_write_off_takes_stock_without_customer_and_price(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, _, faults = shop
    for fault in _of(faults, "write_off"):
        written = [line for line in _between(lines, fault) if line.kind == ADJUSTMENT]
        units = -sum(line.quantity for line in written if line.quantity < 0)
        assert units >= {"easy": 20, "medium": 8, "hard": 5}[fault.level]


def test_a_duplicate_invoice_repeats_an_earlier_one(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, _, faults = shop
    for fault in _of(faults, "duplicate_invoice"):
        skus = set(fault.sku.split("|"))
        now = [line for line in lines if line.time_us == fault.start_us and line.sku in skus]
        basket = {(line.sku, line.quantity) for line in now}
        earlier = [
            line for line in lines if fault.start_us - 3 * HOUR_US <= line.time_us < fault.start_us
        ]
        by_invoice: dict[str, set[tuple[str, int]]] = {}
        for line in earlier:
            by_invoice.setdefault(line.invoice, set()).add((line.sku, line.quantity))
        assert max(len(basket & one) for one in by_invoice.values()) >= len(skus)


def test_an_outage_leaves_at_most_a_few_invoices(
    shop: tuple[list[Fields], list[Fields], list[Fault]],
) -> None:
    lines, clean, faults = shop
    for fault in _of(faults, "site_outage"):
        left = {line.invoice for line in _between(lines, fault)}
        usual = {line.invoice for line in _between(clean, fault)}
        assert len(left) <= (0.5 * len(usual) if fault.level == "hard" else 0)
        assert len(usual) >= 5
