"""What a config says to do, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oddlot.config import Config, load
from oddlot.engine import checkpoint
from oddlot.engine.embedded import Engine
from oddlot.engine.scoring import type_of
from oddlot.errors import ConfigError
from oddlot.replay.records import Source
from oddlot.schema import REQUIRED_ROLES, ROLES
from oddlot.stored import DATABASE, Stored
from oddlot.streams.folder import WatchedFolder

_WIDTH = 12


def describe(config: Config) -> Iterator[str]:
    """Yield lines that say what was understood; looks into the newest log file, if any.

    Raises:
        ConfigError: the folder is not there, or its files cannot be understood.
    """
    source = config.source
    folder = WatchedFolder(config.stream.path)
    found = [entry for entry in folder.look() if entry.is_wanted and entry.size]
    yield _entry("config", config.place)
    files = "no files yet" if not found else f"{len(found):,} file{'s'[: len(found) - 1]}"
    yield _entry("source", f"{config.stream.path} ({source.type}, {files})")
    if found:
        newest = max(found, key=lambda entry: (entry.changed_ns, entry.path))
        yield from _describe_reading(folder.join(newest.path), config)
    else:
        for role in ROLES:
            if role in config.columns:
                yield _entry("", f"{role} = {config.columns[role]}")
    time = config.time
    yield _entry("time", f"lateness {time.lateness}, max skew {time.max_skew}, idle {time.idle}")
    yield from _describe_detectors(config)
    yield _entry("state", f"{config.state.path} (checkpoint every {config.state.checkpoint_every})")
    yield _entry("alerts", f"{config.alerts.path} ({config.alerts.format})")
    yield _entry("archive", config.archive.path or "none")


def archive_folder(path: str) -> Path:
    """Return the archive's folder that a config, or the user himself, names.

    Raises:
        ConfigError: the config cannot be read, or keeps no archive.
    """
    if not Path(path).is_file():
        return Path(path)
    config = load(path)
    if config.archive.path is None:
        raise ConfigError(
            f"{path}: archive: path must be a folder; got nothing, so no archive is kept"
        )
    return Path(config.archive.path)


def _describe_reading(path: str, config: Config) -> Iterator[str]:
    reading = Source.open(path, config.settings).reading
    form = {"csv": f"CSV, delimiter {reading.delimiter!r}", "jsonl": "JSON Lines"}[reading.format]
    yield _entry("read as", f"{form}, dates {reading.dates} (from {Path(path).name})")
    for role in ROLES:
        if role in reading.columns:
            yield _entry("", f"{role:<12} {reading.columns[role]}")
        else:
            what = "missing" if role in REQUIRED_ROLES else "none"
            yield _entry("", f"{role:<12} ({what})")


def _describe_detectors(config: Config) -> Iterator[str]:
    accepted = config.budget.false_alerts_per_day
    yield _entry("budget", f"{accepted:g} false alert{'' if accepted == 1 else 's'} a day")
    engine = Engine(config)
    has_past = _restore_budget(engine, config)
    for place, detector in enumerate(config.detectors):
        name = type_of(detector)
        part = "a rule, no budget"
        if not detector.is_rule:
            part = f"{accepted * engine.budget.part[name]:.3g} a day"
            if has_past:
                chance = engine.budget.threshold(name, accepted)
                part += f", alerts at chances below {chance:.1e}"
        options = ", ".join(f"{name} {_show(value)}" for name, value in _options(detector))
        yield _entry(
            "detectors" if place == 0 else "",
            f"{name} ({part})" + (f": {options}" if options else ""),
        )
    if not has_past and engine.budget.part:
        yield _entry("", "thresholds are known after the first checkpoint of oddlot run")


def _restore_budget(engine: Engine, config: Config) -> bool:
    """Give a budget the past that the state folder holds; return whether there is one."""
    if not (Path(config.state.path) / DATABASE).exists():
        return False
    with Stored.read(Path(config.state.path)) as stored:
        saved = stored.load()
    if saved is None:
        return False
    checkpoint.restore(engine, saved)
    return True


def _options(detector: Any) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(detector):
        yield field.name, getattr(detector, field.name)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _entry(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"
