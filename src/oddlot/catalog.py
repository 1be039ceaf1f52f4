"""A table of the config becomes an object: its class found by `type`, its options checked."""

from __future__ import annotations

import difflib
import importlib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from oddlot.errors import ConfigError

T = TypeVar("T")

_PACKAGE = Path(__file__).parent
_NOT_COMPONENTS = {"__init__", "contract"}
_WORDS: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
}


def find_types(folder: str, parent: str = "") -> tuple[str, ...]:
    """List the components in a folder of the package, such as "detectors".

    A file is a component if it holds the class of its own name in CamelCase; the file is read,
    not imported, so that listing stays cheap.

    Args:
        folder: folder of the package.
        parent: only those whose class derives from a class of this name, such as "ShopDetector".

    Returns:
        Types, that is file names without ending, in alphabetical order.
    """
    return tuple(
        sorted(
            file.stem
            for file in (_PACKAGE / folder).glob("*.py")
            if file.stem not in _NOT_COMPONENTS
            and re.search(
                rf"^class {_class_name(file.stem)}\b" + (rf"\({parent}\b" if parent else ""),
                file.read_text("utf-8"),
                re.MULTILINE,
            )
        )
    )


def check_type(folder: str, name: object, place: str) -> str:
    """Return `name` if it is a type in the folder.

    Args:
        folder: folder of the package, such as "detectors".
        name: what the user wrote as type; None where he wrote nothing.
        place: what an error names, such as "shop.toml: detector 1".

    Raises:
        ConfigError: there is no such type; the text lists those that there are.
    """
    known = find_types(folder)
    if not isinstance(name, str) or name not in known:
        raise ConfigError(
            f"{place}: type must be one of: {', '.join(known)}; got {show(name)}"
            f"{suggest(name, known)}"
        )
    return name


def build(folder: str, table: Mapping[str, Any], place: str, known: Iterable[str] = ()) -> Any:
    """Turn a table such as {"type": "low_quantity", "below": 10} into an object.

    Imports only the module of that type.

    Args:
        folder: folder of the package, such as "detectors".
        table: the type and the options of its class; options left out keep their defaults.
        place: what an error names, such as "shop.toml: detector 1".
        known: other keys of the table, which an error lists too; the caller reads them.

    Raises:
        ConfigError: the type is unknown, or an option is unknown or wrong.
    """
    name = check_type(folder, table.get("type"), place)
    module = importlib.import_module(f"oddlot.{folder}.{name}")
    options = {key: value for key, value in table.items() if key != "type"}
    record = getattr(module, _class_name(name))
    check_keys(options, [*sorted(set(known) - {"type"}), *record.__struct_fields__], place)
    return convert(record, options, place)


def convert(record: type[T], table: object, place: str) -> T:
    """Turn a table into a record, with errors that name place, option, expected and got.

    Args:
        record: a msgspec Struct; its field types say what is right.
        table: options by name, as TOML gives them.
        place: what an error names, such as "shop.toml: time".

    Raises:
        ConfigError: the table is none, or an option is unknown, missing or wrong.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table; got {show(table)}")
    fields = {
        field.encode_name: field
        for field in msgspec.structs.fields(record)  # type: ignore[arg-type]  # T is a Struct
    }
    check_keys(table, fields, place)
    for name, field in fields.items():
        if name in table:
            _check_option(field.type, table[name], f"{place}: {name}")
        elif field.required:
            raise ConfigError(f"{place}: {name} must be {_describe(field.type)}; got nothing")
    try:
        return msgspec.convert(dict(table), record)
    except (ConfigError, msgspec.ValidationError) as error:  # from the record's __post_init__
        raise ConfigError(f"{place}: {error}") from None


def check_keys(table: Mapping[str, object], known: Iterable[str], place: str) -> None:
    """Refuse a key that is not among the known ones.

    Raises:
        ConfigError: a key is unknown; the text names the known ones and the nearest.
    """
    known = tuple(known)
    for key in table:
        if key not in known:
            choice = f"one of: {', '.join(known)}" if known else "left out: there are no options"
            raise ConfigError(
                f"{place}: key must be {choice}; got {show(key)}{suggest(key, known)}"
            )


def suggest(got: object, known: Iterable[str]) -> str:
    """Return " (did you mean X?)" with the nearest known value, or "" where none is near."""
    folded = {value.lower(): value for value in known}
    near = difflib.get_close_matches(str(got).lower(), folded, n=1)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


def show(value: object) -> str:
    """Return a value as an error quotes it: one short line, in the words of TOML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    text = repr(value) if isinstance(value, str | int | float | list) else repr(str(value))
    return text if len(text) <= 60 else text[:57] + "..."


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _check_option(expected: Any, value: object, place: str) -> None:
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError:
        choices = tuple(str(choice) for choice in _find_choices(expected))
        raise ConfigError(
            f"{place} must be {_describe(expected)}; got {show(value)}{suggest(value, choices)}"
        ) from None


def _find_choices(expected: Any) -> tuple[object, ...]:
    origin = typing.get_origin(expected)
    if origin is Annotated:
        return _find_choices(typing.get_args(expected)[0])
    if origin is Literal:
        return typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return tuple(x for part in typing.get_args(expected) for x in _find_choices(part))
    return ()


def _describe(expected: Any) -> str:
    """Say in words what a type accepts."""
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if expected in _WORDS:
        return _WORDS[expected][0]
    if origin is Annotated:
        return _describe_bounds(arguments[0], arguments[1:])
    if origin is Literal:
        return ("one of: " if len(arguments) > 1 else "") + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(part) for part in arguments if part is not types.NoneType)
    if origin in (tuple, list) and arguments[0] in _WORDS:
        return f"a list of {_WORDS[arguments[0]][1]}"
    return f"a {getattr(expected, '__name__', expected)}"


def _describe_bounds(expected: Any, metas: tuple[Any, ...]) -> str:
    bounds = []
    for meta in metas:
        if not isinstance(meta, msgspec.Meta):
            continue
        if meta.extra and "words" in meta.extra:
            return str(meta.extra["words"])
        for name, words in (
            ("gt", "above"),
            ("ge", "at least"),
            ("lt", "below"),
            ("le", "at most"),
        ):
            bound = getattr(meta, name)
            if bound is not None:
                bounds.append(f"{words} {bound}")
    return " ".join([_describe(expected), " and ".join(bounds)]).strip()
