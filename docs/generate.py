"""The reference pages, made from the code; `make golden` writes them."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click
import msgspec

REFERENCE = Path(__file__).parent / "reference"
_NOTE = "<!-- Made from the code by docs/generate.py; `make golden` writes it anew. -->\n"
_FOLDERS = ("detectors", "streams", "notifiers")


def pages() -> dict[Path, str]:
    """Return the text of every page by its file."""
    from oddlot import catalog, cli, config

    made = {
        "cli.md": "\n".join(_command_page(cli.main)),
        "config.md": "\n".join(_config_page(config.Config)),
    }
    for folder in _FOLDERS:
        types = catalog.find_types(folder)
        if types:
            made[f"{folder}.md"] = "\n".join(_component_page(folder, types))
    made["agent.md"] = "\n".join(_agent_page())
    names = sorted({*made, *(page.name for page in REFERENCE.glob("*.md"))} - {"README.md"})
    made["README.md"] = "\n".join(_index_page(names))
    return {REFERENCE / name: text for name, text in made.items()}


def walk(command: click.Command, path: str = "oddlot") -> Iterator[tuple[str, click.Command]]:
    """Yield a command and every command below it, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from walk(below, f"{path} {name}")


def help_text(command: click.Command) -> str:
    """Return what a command says about itself, its epilog included."""
    texts = (command.help or "", command.epilog or "")
    return "\n\n".join(inspect.cleandoc(text) for text in texts if text).replace("\f", "")


def _index_page(names: list[str]) -> Iterator[str]:
    yield f"{_NOTE}\n# Reference\n"
    yield from (f"- [{Path(name).stem}]({name})" for name in names)
    yield ""


def _command_page(main: click.Command) -> Iterator[str]:
    yield f"{_NOTE}\n# The commands"
    for path, command in walk(main):
        if command.hidden:
            continue
        context = click.Context(command, info_name=path)
        yield f"\n## {path}\n"
        yield f"```text\n{' '.join([path, *command.collect_usage_pieces(context)])}\n```\n"
        yield _paragraphs(help_text(command))
        options = [
            record
            for option in command.get_params(context)
            if (record := option.get_help_record(context)) and record[1]
        ]
        if options:
            yield "\n| option | meaning |\n|---|---|"
            yield from (f"| `{_cell(names)}` | {_cell(text)} |" for names, text in options)
    yield ""


def _config_page(config: type) -> Iterator[str]:
    from oddlot import sections

    yield f"{_NOTE}\n# The config file"
    yield "\nA file in TOML, each section a table. Everything may be left out."
    for name, section in get_type_hints(config).items():
        if isinstance(section, type) and issubclass(section, msgspec.Struct):
            yield f"\n## [{name}]\n"
            yield from _record(section)
    yield "\n## [columns]\n"
    yield "A role of an order line and the name of its column in the source."
    yield "\n## [[detectors]]\n"
    yield "One table for each: `type` and the options of that type, in [detectors](detectors.md)."
    yield "\n## [[channels]]\n"
    yield from _record(sections.Channel)
    yield ""


def _agent_page() -> Iterator[str]:
    from oddlot.agent import options

    yield f"{_NOTE}\n# The options of agent.json"
    yield "\nFor what they mean together see [the how-to](../howto/agent.md)."
    tables: list[tuple[str, type]] = [
        ("At the top", options.AgentOptions),
        ("In a flow", options.FlowOptions),
        *((f"dataProcessingOptions: {name}", step) for name, step in options.STEPS.items()),
    ]
    for heading, record in tables:
        yield f"\n## {heading}\n"
        yield from _record(record)
    for heading, unused in (
        ("at the top", options.UNUSED),
        ("in a flow", options.UNUSED_IN_FLOW),
    ):
        yield f"\n## Accepted without meaning, {heading}\n\n| option | why |\n|---|---|"
        yield from (f"| `{name}` | {_cell(why)} |" for name, why in unused.items())
    yield ""


def _component_page(folder: str, types: tuple[str, ...]) -> Iterator[str]:
    yield f"{_NOTE}\n# {folder.capitalize()}"
    for name in types:
        module = importlib.import_module(f"oddlot.{folder}.{name}")
        yield f"\n## {name}\n"
        yield from _record(getattr(module, "".join(map(str.capitalize, name.split("_")))))
    yield ""


def _record(record: type) -> Iterator[str]:
    """Yield a record's own words, and its options as a table."""
    text, meanings = _split_attributes(inspect.cleandoc(record.__doc__ or ""))
    yield _paragraphs(text)
    hints = get_type_hints(record, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(record) if issubclass(record, msgspec.Struct) else ():
        if field.name == "notifier":  # no option: what the others are read into
            continue
        meaning = meanings.get(field.name) or _description(hints[field.name])
        if field.default is not msgspec.NODEFAULT:
            default = f"`{_toml(field.default)}`"
        else:
            default = "" if field.default_factory is msgspec.NODEFAULT else "empty"
        rows.append(f"| `{field.encode_name}` | {_cell(default)} | {_cell(meaning)} |")
    if rows:
        yield "\n| option | default | meaning |\n|---|---|---|"
        yield from rows


def _split_attributes(text: str) -> tuple[str, dict[str, str]]:
    """Take the Attributes section out of a docstring."""
    match = re.search(r"^Attributes:\n((?:[ ]{4,}.*\n?|\n)+)", text, re.MULTILINE)
    if not match:
        return text, {}
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in match[1].splitlines():
        entry = re.match(r"[ ]{4}(\w+(?:, \w+)*): (.*)", line)
        if entry:
            names = entry[1].split(", ")
            meanings.update(dict.fromkeys(names, entry[2]))
        else:
            meanings.update({name: f"{meanings[name]} {line.strip()}".strip() for name in names})
    return (text[: match.start()] + text[match.end() :]).strip(), meanings


def _description(hint: Any) -> str:
    """Return the description in an Annotated type's Meta."""
    if get_origin(hint) is Annotated:
        for meta in get_args(hint)[1:]:
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return ""


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _paragraphs(text: str) -> str:
    """Turn a docstring's indented blocks into code, and leave the rest."""
    lines: list[str] = []
    is_code = False
    for line in text.replace("\b\n", "").splitlines():
        is_indented = line.startswith("    ") or (is_code and not line.strip())
        if is_indented and not is_code:
            if lines and lines[-1].strip():
                lines.append("")
            lines.append("```sh" if line.strip().startswith("oddlot") else "```text")
        elif is_code and not is_indented:
            _close(lines)
        is_code = is_indented
        lines.append(line[4:] if is_code else line.rstrip())
    if is_code:
        _close(lines)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _close(lines: list[str]) -> None:
    while not lines[-1].strip():
        lines.pop()
    lines += ["```", ""]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())
