"""What `oddlot check` says of a config, before and after a run."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import grown
from crashes import folder_in_memory
from oddlot import config
from oddlot.described import describe
from oddlot.detectors.contract import EVENT, FOUND
from oddlot.engine import checkpoint
from oddlot.engine.embedded import Engine
from oddlot.errors import ConfigError
from oddlot.stored import Stored


@pytest.fixture(scope="module")
def watched() -> Iterator[Path]:
    with folder_in_memory() as place:
        grown.watch(place)
        yield place


def test_thresholds_are_told_only_after_a_checkpoint(tmp_path: Path) -> None:
    shop = grown.make(tmp_path)
    (tmp_path / "logs" / "orders.csv").write_bytes(grown.texts()[0])
    told = "\n".join(describe(shop))
    assert "thresholds are known after the first checkpoint" in told
    assert "alerts at chances below" not in told


def test_a_told_threshold_is_where_the_restored_budget_begins_to_alert(watched: Path) -> None:
    shop = config.apply(config.load(watched / "shop.toml"), ["budget.false_alerts_per_day=0.5"])
    told = re.search(r"price_error \(.*alerts at chances below (\S+)\)", "\n".join(describe(shop)))
    assert told
    threshold = float(told[1])
    assert 0.0 < threshold < 1.0
    engine = Engine(shop)
    with Stored.read(Path(shop.state.path)) as stored:
        saved = stored.load()
    assert saved is not None
    checkpoint.restore(engine, saved)
    accepted = shop.budget.false_alerts_per_day
    event = np.zeros(1, EVENT)
    event["time_us"] = engine.time.newest_us
    rates = []
    # Told with two digits, so a tenth is clearly beyond.
    for chance in (threshold * 0.9, threshold * 1.1):
        budget = copy.deepcopy(engine.budget)
        found = np.zeros(1, np.dtype([*FOUND]))
        found["sku"], found["chance"] = engine.skus.count - 1, chance
        found["tests"] = engine.budget.save()["past.price_error"]["tests"][0]
        budget._told["price_error"][:] = 0  # no repeat of anything
        budget.begin(event)
        rates.append(float(budget.rate("price_error", event, found, engine.skus.count)[0]))
    assert rates[0] <= accepted < rates[1]


def test_a_source_that_has_no_folder_is_refused_by_name(tmp_path: Path) -> None:
    shop = config.from_text('[source]\npath = "nowhere"', "shop.toml", tmp_path)
    with pytest.raises(ConfigError, match="nowhere"):
        list(describe(shop))
