"""The TOML file `shop.toml` as frozen records."""

from __future__ import annotations

import glob
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from oddlot import catalog
from oddlot.decode.reading import Kinds, Settings
from oddlot.durations import Duration, DurationOrOff, parse_duration
from oddlot.errors import ConfigError
from oddlot.schema import ROLES

__all__ = ["Config", "apply", "from_text", "load", "parse_duration"]

_Path = Annotated[str, Meta(min_length=1, extra={"words": "a path"})]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where order lines come from and how they are written.

    Attributes:
        type: a file name in streams/.
        path: a folder or a glob of log files.
        format: csv or jsonl; auto looks at the data.
        delimiter: the character between fields; auto looks at the header.
        encoding: auto takes each record as UTF-8, or else as ISO-8859-1.
        dates: which comes first in 1/2/2011; auto looks at the data and asks if it must.
    """

    type: str = "files"
    path: _Path = "logs"
    format: Literal["auto", "csv", "jsonl"] = "auto"
    delimiter: Annotated[
        str, Meta(pattern=r'\A(auto|[^"\r\n])\Z', extra={"words": "auto or one character"})
    ] = "auto"
    encoding: Literal["auto", "utf-8", "iso-8859-1"] = "auto"
    dates: Literal["auto", "iso", "month-first", "day-first"] = "auto"


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How event time moves on.

    Attributes:
        lateness: how long after a newer line a line may still arrive.
        max_skew: how far ahead of the stream a line may be before it waits for company.
        idle: after so long without a record the newest lines are released; "off" waits for ever.
    """

    lateness: Duration = "5s"
    max_skew: Duration = "1d"
    idle: DurationOrOff = "10m"

    def __post_init__(self) -> None:
        _check_durations(self, "lateness", "max_skew", "idle")

    @property
    def lateness_us(self) -> int:
        """The lateness in microseconds."""
        return parse_duration(self.lateness)

    @property
    def max_skew_us(self) -> int:
        """The largest skew in microseconds."""
        return parse_duration(self.max_skew)

    @property
    def idle_us(self) -> int | None:
        """The idle time in microseconds; None if it is off."""
        return None if self.idle == "off" else parse_duration(self.idle)


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user accepts.

    Attributes:
        false_alerts_per_day: over the whole catalogue; above 0.
        own_oddities: whether the shop has real oddities of its own, as real shops have: of what is
            found only a part is then taken to be false. false in a shop that is simulated.
        weights: a test's part of them, by its type, in proportion to those of the others; what
            is not named keeps its own weight.
    """

    false_alerts_per_day: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    own_oddities: bool = True
    weights: dict[str, Annotated[float, Meta(gt=0, le=1_000_000)]] = {}

    def __post_init__(self) -> None:
        known = catalog.find_types("detectors")
        for name in self.weights:
            if name not in known:
                raise ConfigError(
                    f"weights must name detectors: {', '.join(known)}; got {catalog.show(name)}"
                    f"{catalog.suggest(name, known)}"
                )

    def weight(self, name: str, own: float) -> float:
        """Return the weight of a test by its type; its own where none is set."""
        return self.weights.get(name, own)


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a restart needs.

    Attributes:
        path: the folder of the store.
        checkpoint_every: time between two checkpoints; above 0.
    """

    path: _Path = "state"
    checkpoint_every: Duration = "5s"

    def __post_init__(self) -> None:
        _check_durations(self, "checkpoint_every")
        if self.checkpoint_every_us == 0:
            raise ConfigError(f"checkpoint_every must be above 0s; got {self.checkpoint_every!r}")

    @property
    def checkpoint_every_us(self) -> int:
        """The time between two checkpoints in microseconds."""
        return parse_duration(self.checkpoint_every)


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Order lines and alerts as Parquet.

    Attributes:
        path: a folder; None keeps no archive.
    """

    path: _Path | None = None


class Alerts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where alerts are written.

    Attributes:
        path: a folder.
        format: jsonl or csv.
        language: en or es, of the sentence that each alert says.
    """

    path: _Path = "alerts"
    format: Literal["jsonl", "csv"] = "jsonl"
    language: Literal["en", "es"] = "en"


class Config(msgspec.Struct, frozen=True):
    """A whole config, checked; paths are joined to the folder of its file.

    Attributes:
        columns: role (schema.ROLES) to the name of the column in the source.
        detectors: objects of the classes in detectors/, in the order of the file.
        place: the file as the user named it.
        folder: what relative paths were joined to.
        table: the config as written, which `apply` starts from.
    """

    source: Source
    columns: dict[str, str]
    kinds: Kinds
    time: Time
    budget: Budget
    detectors: tuple[Any, ...]
    state: State
    archive: Archive
    alerts: Alerts
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
    "source": Source,
    "kinds": Kinds,
    "time": Time,
    "budget": Budget,
    "state": State,
    "archive": Archive,
    "alerts": Alerts,
}
_KEYS = ("source", "columns", "kinds", "time", "budget", "detectors", "state", "archive", "alerts")


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
    catalog.check_type("streams", sections["source"].type, f"{place}: source")
    for name in ("source", "state", "archive", "alerts"):
        path = sections[name].path
        if path is not None:
            sections[name] = msgspec.structs.replace(sections[name], path=_join(folder, path))
    return Config(
        **sections,
        columns=_read_columns(table.get("columns", {}), f"{place}: columns"),
        detectors=_build_detectors(table.get("detectors", []), place),
        place=file,
        folder=folder,
        table=table,
    )


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
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: must be a table; got {catalog.show(table)}")
    catalog.check_keys(table, ROLES, place)
    for role, column in table.items():
        if not isinstance(column, str) or not column:
            raise ConfigError(
                f"{place}: {role} must be the name of a column; got {catalog.show(column)}"
            )
    return dict(table)


def _join(folder: Path, path: str) -> str:
    """Join a path to the config's folder; a [ in the folder's name must not become a glob."""
    home = Path(path).expanduser()
    if home.is_absolute() or not glob.has_magic(path):
        return str(folder / home)
    return str(Path(glob.escape(str(folder))) / home)


def _check_durations(record: object, *names: str) -> None:
    for name in names:
        text = getattr(record, name)
        if text == "off":
            continue
        try:
            parse_duration(text)
        except ConfigError as error:
            raise ConfigError(f"{name} {error}") from None
