"""Each option of the original is used or explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.flows import load
from agent.known_options import FLOW, STEPS, TOP
from oddlot.agent import config, options


def fields(record: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(record)}


@pytest.mark.parametrize("name", TOP)
def test_every_option_of_the_original_at_the_top_is_used_or_explained(name: str) -> None:
    keys = ("awsAccessKeyId", "awsSecretAccessKey")
    top = {key: TOP[key] for key in (keys if name in keys else (name,))}
    chosen = load({}, **top)
    assert not chosen.unknown
    is_used = name in fields(options.AgentOptions)
    assert is_used != (name in options.UNUSED)
    told = [line for line in chosen.cautions if "holds a secret" not in line]
    assert any(name in line for line in told) != is_used


@pytest.mark.parametrize("name", FLOW)
def test_every_option_of_the_original_in_a_flow_is_used_or_explained(name: str) -> None:
    # Firehose takes what Kinesis has no use for, and the other way round.
    is_packing = name == "aggregatedRecordSizeBytes"
    chosen = load({name: FLOW[name], **({"deliveryStream": "orders"} if is_packing else {})})
    assert not chosen.unknown
    is_used = name in fields(options.FlowOptions) or name == "dataProcessingOptions"
    assert is_used != (name in options.UNUSED_IN_FLOW)
    assert any(name in line for line in chosen.cautions) != is_used


@pytest.mark.parametrize("step", STEPS, ids=lambda step: "-".join(map(str, step.values()))[:40])
def test_every_data_processing_option_of_the_original_is_read(step: dict[str, Any]) -> None:
    chosen = load({"dataProcessingOptions": [step]})
    assert not chosen.unknown
    assert not chosen.cautions
    assert type(chosen.flows[0].steps[0]) is options.STEPS[step["optionName"]]


@pytest.mark.parametrize(
    "record", [options.AgentOptions, options.FlowOptions, *options.STEPS.values()]
)
def test_an_option_that_counts_as_used_is_used(record: type) -> None:
    folder = Path(config.__file__).parent
    code = "".join(file.read_text() for file in folder.glob("*.py") if file.name != "options.py")
    names = [field.name for field in msgspec.structs.fields(record)]
    assert [name for name in names if not re.search(rf"\.{name}\b", code)] == []
