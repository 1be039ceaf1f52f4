"""The TOML file `shop.toml` as frozen records."""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from oddlot import catalog
from oddlot.decode.reading import Kinds, Settings
from oddlot.durations import parse_duration
from oddlot.errors import ConfigError
from oddlot.schema import ROLES
from oddlot.sections import Alerts, Archive, Budget, Channel, Flink, Source, State, Time, Web

__all__ = ["Config", "apply", "from_text", "load", "parse_duration"]


class Config(msgspec.Struct, frozen=True):
    """A whole config, checked; paths are joined to the folder of its file.

    Attributes:
        stream: object of the class in streams/ that the source's type names.
        columns: role (schema.ROLES) to the name of the column in the source.
        detectors: objects of the classes in detectors/, in the order of the file.
        channels: what alerts go out by, in the order of the file.
        place: the file as the user named it.
        folder: what relative paths were joined to.
        table: the config as written, which `apply` starts from.
    """

    source: Source
    stream: Any
    columns: dict[str, str]
    kinds: Kinds
    time: Time
    budget: Budget
    detectors: tuple[Any, ...]
    state: State
    archive: Archive
    alerts: Alerts
    channels: tuple[Channel, ...]
    web: Web
    flink: Flink
    place: str
    folder: Path
    table: dict[str, Any]

    @property
    def settings(self) -> Settings:
        """What the user declared about the source."""
        return Settings(
            format=self.source.format,
            delimiter=self.source.delimiter,
            encoding=self.source.encoding,
            dates=self.source.dates,
            columns=self.columns,
            kinds=self.kinds,
        )


_SECTIONS: dict[str, Any] = {
    "kinds": Kinds,
    "time": Time,
    "budget": Budget,
    "state": State,
    "archive": Archive,
    "alerts": Alerts,
    "web": Web,
    "flink": Flink,
}
_KEYS = ("source", "columns", *_SECTIONS, "detectors", "channels")


def load(path: str | os.PathLike[str]) -> Config:
    """Read a config file.

    Args:
        path: the file; its folder is what relative paths in it start from.

    Raises:
        ConfigError: the file cannot be read or says something wrong.
    """
    place = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{place}: no such file; expected a config in TOML") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{place}: must be UTF-8; got byte 0x{error.object[error.start]:02x} "
            f"at offset {error.start}"
        ) from None
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read: {error.strerror}") from None
    return from_text(text, place, Path(path).resolve().parent)


def from_text(text: str, place: str, folder: Path | None = None) -> Config:
    """Read a config from its text.

    Args:
        text: TOML.
        place: what errors name, such as "shop.toml".
        folder: what relative paths start from; the current folder if None.

    Raises:
        ConfigError: the text says something wrong.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: must be TOML; got: {' '.join(str(error).split())}") from None
    return _from_table(table, place, place, Path.cwd() if folder is None else folder)


def from_table(table: dict[str, Any], place: str, folder: Path) -> Config:
    """Read a config from the table that its text is, such as another config's `table`.

    Raises:
        ConfigError: the table says something wrong.
    """
    return _from_table(table, place, place, folder)


def apply(config: Config, settings: Iterable[str]) -> Config:
    """Return the config with settings from the command line laid over it.

    Args:
        config: what the settings change.
        settings: "key.sub=value" each, the value as in TOML or bare, such as
            "time.lateness=10s", "detectors.1.below=5" or "detectors.low_quantity.below=5".

    Raises:
        ConfigError: a setting is not of this form, or says something wrong.
    """
    for setting in settings:
        setting = " ".join(setting.split())  # an error is one line
        path, equals, value = setting.partition("=")
        keys = [key.strip() for key in path.split(".")]
        if not equals or not all(keys):
            raise ConfigError(f"--set {setting}: must be key.sub=value; got {setting!r}")
        config = _apply_one(config, keys, value.strip(), f"--set {setting}")
    return config


def _apply_one(config: Config, keys: list[str], value: str, place: str) -> Config:
    typed = _read_value(value)
    try:
        table = _change(config.table, keys, typed, place)
        return _from_table(table, place, config.place, config.folder)
    except ConfigError as refused:
        if isinstance(typed, str):
            raise
        # A bare 5 may be meant as a text, such as the name of a column.
        try:
            table = _change(config.table, keys, value, place)
            return _from_table(table, place, config.place, config.folder)
        except ConfigError:
            raise refused from None


def _read_value(value: str) -> Any:
    try:
        table = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value
    return table["value"] if len(table) == 1 else value


def _change(written: Any, keys: list[str], value: Any, place: str) -> Any:
    """Return a copy of a table (or of the list of detectors) with one value changed."""
    if not keys:
        return value
    if isinstance(written, list):
        index = _find_detector(written, keys[0], place)
        changed = list(written)
        changed[index] = _change(written[index], keys[1:], value, place)
        return changed
    if not isinstance(written, Mapping):
        raise ConfigError(f"{place}: {keys[0]} must belong to a table; got {catalog.show(written)}")
    inner = written.get(keys[0]) or (_default_detectors() if keys[0] == "detectors" else {})
    return {**written, keys[0]: _change(inner, keys[1:], value, place)}


def _find_detector(detectors: list[Any], key: str, place: str) -> int:
    names = [table.get("type") for table in detectors]
    if key in names:
        return names.index(key)
    if key.isascii() and key.isdigit() and 1 <= int(key) <= len(names):
        return int(key) - 1
    raise ConfigError(
        f"{place}: detector must be 1 to {len(names)} or one of: {', '.join(names)}; "
        f"got {catalog.show(key)}{catalog.suggest(key, names)}"
    )


def _from_table(table: dict[str, Any], place: str, file: str, folder: Path) -> Config:
    catalog.check_keys(table, _KEYS, place)
    sections = {
        name: catalog.convert(record, table.get(name, {}), f"{place}: {name}")
        for name, record in _SECTIONS.items()
    }
    for name in ("state", "archive", "alerts"):
        sections[name] = _place_in(folder, sections[name])
    source, stream = _build_source(table.get("source", {}), f"{place}: source")
    return Config(
        **sections,
        source=source,
        stream=_place_in(folder, stream),
        columns=_read_columns(table.get("columns", {}), f"{place}: columns"),
        detectors=_build_detectors(table.get("detectors", []), place),
        channels=_build_channels(table.get("channels", []), place, folder),
        place=file,
        folder=folder,
        table=table,
    )


def _place_in(folder: Path, record: Any) -> Any:
    """Join the path of a section or component, if it has one, to the config's folder."""
    path = getattr(record, "path", None)
    return record if path is None else msgspec.structs.replace(record, path=_join(folder, path))


def _build_source(table: object, place: str) -> tuple[Source, Any]:
    """Split the table between what every source has and the options of its stream."""
    table = {"type": "files", **_must_be_table(table, place)}
    catalog.check_type("streams", table["type"], place)
    common = set(Source.__struct_fields__)
    source = catalog.convert(Source, {k: v for k, v in table.items() if k in common}, place)
    options = {k: v for k, v in table.items() if k not in common or k == "type"}
    return source, catalog.build("streams", options, place, known=common)


def _build_channels(tables: object, place: str, folder: Path) -> tuple[Channel, ...]:
    if not isinstance(tables, list):
        raise ConfigError(
            f"{place}: channels must be tables, each under [[channels]]; got {catalog.show(tables)}"
        )
    common = set(Channel.__struct_fields__) - {"notifier"}
    channels: dict[str, Channel] = {}
    for number, written in enumerate(tables, 1):
        at = f"{place}: channel {number}"
        table = _must_be_table(written, at)
        catalog.check_type("notifiers", table.get("type"), at)
        channel = catalog.convert(Channel, {k: v for k, v in table.items() if k in common}, at)
        options = {k: v for k, v in table.items() if k not in common or k == "type"}
        notifier = catalog.build("notifiers", options, at, known=common)
        name = channel.name or channel.type
        if name in channels:
            raise ConfigError(f"{at}: name must differ from the others'; got {name!r} twice")
        notifier = _place_secrets(folder, notifier)
        channels[name] = msgspec.structs.replace(channel, name=name, notifier=notifier)
    return tuple(channels.values())


def _place_secrets(folder: Path, notifier: Any) -> Any:
    """Join the files that hold secrets, each "file:PATH", to the config's folder."""
    options = msgspec.structs.asdict(notifier)
    files = {
        name: f"file:{folder / Path(value.removeprefix('file:')).expanduser()}"
        for name, value in options.items()
        if isinstance(value, str) and value.startswith("file:")
    }
    return msgspec.structs.replace(notifier, **files) if files else notifier


def _must_be_table(table: object, place: str) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table; got {catalog.show(table)}")
    return table


def _build_detectors(tables: object, place: str) -> tuple[Any, ...]:
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(
            f"{place}: detectors must be tables, each under [[detectors]]; "
            f"got {catalog.show(tables)}"
        )
    seen: dict[str, int] = {}
    detectors = []
    for number, table in enumerate(tables or _default_detectors(), 1):
        detectors.append(catalog.build("detectors", table, f"{place}: detector {number}"))
        # What is remembered, and the ids of alerts, go by type.
        if table["type"] in seen:
            raise ConfigError(
                f"{place}: detector {number}: type must differ from detector "
                f"{seen[table['type']]}; got {catalog.show(table['type'])} twice"
            )
        seen[table["type"]] = number
    return tuple(detectors)


def _default_detectors() -> list[dict[str, str]]:
    """Return all tests: a rule fires on most lines of many shops, so it must be asked for."""
    return [{"type": name} for name in catalog.find_types("detectors", "ShopDetector")]


def _read_columns(table: object, place: str) -> dict[str, str]:
    catalog.check_keys(_must_be_table(table, place), ROLES, place)
    for role, column in _must_be_table(table, place).items():
        if not isinstance(column, str) or not column:
            raise ConfigError(
                f"{place}: {role} must be the name of a column; got {catalog.show(column)}"
            )
    return dict(_must_be_table(table, place))


def _join(folder: Path, path: str) -> str:
    """Join a path to the config's folder; a [ in the folder's name must not become a glob."""
    home = Path(path).expanduser()
    if home.is_absolute() or not glob.has_magic(path):
        return str(folder / home)
    return str(Path(glob.escape(str(folder))) / home)
