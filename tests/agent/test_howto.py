"""The how-to says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

import tree
from agent.flows import make_flow
from oddlot.agent import config, options
from oddlot.agent.outcomes import Place
from oddlot.agent.records import Processor

PAGE = tree.read(Path("docs/howto/agent.md"))
RECORDS: tuple[type[msgspec.Struct], ...] = (
    options.AgentOptions,
    options.FlowOptions,
    *options.STEPS.values(),
)


def test_every_example_is_read_without_a_word(tmp_path: Path) -> None:
    examples = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        (tmp_path / "agent.json").write_text(example)
        chosen = config.load(tmp_path / "agent.json")
        assert (chosen.unknown, chosen.cautions) == ((), ())


def test_the_table_of_extensions_has_each_of_them_and_no_other() -> None:
    table = PAGE.partition("## What it can do more")[2].partition("\n\nADD")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if "`" in row]
    listed = set(re.findall(r"`([\w.]+)`", " ".join(cells)))
    extensions = set()
    for record in RECORDS:
        names = {field.name: field.encode_name for field in msgspec.structs.fields(record)}
        for name, words in re.findall(r"^ {8}(\w+): (.*)$", record.__doc__ or "", re.MULTILINE):
            if words.startswith("extension:"):
                extensions.add(names[name])
    assert listed == extensions


@pytest.mark.parametrize(
    "name", ["csvMode", "onMismatch", "--status", "--check", "set-aside.jsonl"]
)
def test_the_page_names_what_a_user_looks_for(name: str) -> None:
    assert name in PAGE


def test_the_record_shown_is_one_that_is_made() -> None:
    (example, *_) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    flow = json.loads(example)["flows"][0]
    steps = flow.pop("dataProcessingOptions")
    line = b'536365,85123A,"HOLDER, WHITE",6,12/1/2010 8:26,2.55,17850,United Kingdom'
    place = Place("orders.log", 1874, "orders.log#ebc0887d")
    made = Processor(make_flow(*steps, **flow), host="till-1").convert(line, place).data.decode()
    (shown,) = re.findall(r"```text\n(\{.*\})\n```", PAGE)
    begin, end = shown.split("...")
    assert made.startswith(begin)
    assert re.sub(r':\w{8}"}', "", made.rstrip()).endswith(re.sub(r':\w{8}"}', "", end))
