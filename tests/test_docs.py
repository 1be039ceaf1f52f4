"""What the docs and the help texts promise about the commands."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

import generate
import tree

needs_commands = pytest.mark.skipif(
    not importlib.util.find_spec("oddlot.cli"), reason="there is no oddlot.cli yet"
)


@pytest.mark.parametrize("page", tree.pages(), ids=str)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    lost = [str(target) for target in _links(page) if not (tree.ROOT / target).exists()]
    assert not lost


def test_every_page_can_be_reached_from_the_index() -> None:
    reached = {Path("docs/README.md")}
    waiting = list(reached)
    while waiting:
        for target in _links(waiting.pop()):
            page = target / "README.md" if (tree.ROOT / target).is_dir() else target
            if page.suffix == ".md" and page in tree.pages() and page not in reached:
                reached.add(page)
                waiting.append(page)
    unreached = {page for page in tree.pages() if page.parts[0] == "docs"} - reached
    assert not sorted(map(str, unreached))


@needs_commands
@pytest.mark.golden
def test_the_reference_is_what_the_code_says(golden: Callable[[Path, str], None]) -> None:
    for page, text in generate.pages().items():
        golden(page, text)


@needs_commands
def test_every_help_text_has_an_example() -> None:
    for path, command in _commands():
        assert "Example:" in generate.help_text(command), path


@needs_commands
def test_the_reference_covers_every_command_and_option() -> None:
    text = tree.read(Path("docs/reference/cli.md"))
    sections = dict(re.findall(r"^## (oddlot.*)\n((?:(?!^## ).*\n?)*)", text, re.MULTILINE))
    for path, command in _commands():
        assert path in sections
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                for name in option.opts:
                    assert re.search(rf"(?<![\w-]){name}(?![\w-])", sections[path]), (path, name)


@needs_commands
def test_every_option_explains_itself() -> None:
    for path, command in _commands():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{path} {option.opts[0]} needs a help text"


def _commands() -> Iterator[tuple[str, click.Command]]:
    from oddlot import cli

    for path, command in generate.walk(cli.main):
        if not command.hidden:
            yield path, command


def _links(page: Path) -> Iterator[Path]:
    """Yield what a page's relative links lead to, relative to the root."""
    text = re.sub(r"^```.*?^```", "", tree.read(page), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        target = link.partition("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            path = (tree.ROOT / page.parent / target).resolve()
            yield path.relative_to(tree.ROOT) if path.is_relative_to(tree.ROOT) else path
