"""What a config says to do, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from oddlot.config import Config, load
from oddlot.decode.reading import Reading
from oddlot.engine import checkpoint
from oddlot.engine import sources as engine_sources
from oddlot.engine.embedded import Engine
from oddlot.engine.scoring import type_of
from oddlot.errors import ConfigError
from oddlot.replay.records import Source
from oddlot.schema import REQUIRED_ROLES, ROLES
from oddlot.stored import DATABASE, Stored
from oddlot.streams.folder import WatchedFolder

_WIDTH = 12


def describe(config: Config) -> Iterator[str]:
    """Yield lines that say what was understood; looks at the newest file or the oldest records.

    Raises:
        ConfigError: the folder or stream is not there, or what it holds cannot be understood.
    """
    yield _entry("config", config.place)
    reading = _describe_files(config) if config.source.type == "files" else _describe_shards(config)
    is_known = False
    for entry in reading:
        is_known = is_known or entry.startswith("read as")
        yield entry
    if not is_known:
        for role in ROLES:
            if role in config.columns:
                yield _entry("", f"{role} = {config.columns[role]}")
    time = config.time
    yield _entry("time", f"lateness {time.lateness}, max skew {time.max_skew}, idle {time.idle}")
    yield from _describe_detectors(config)
    yield _entry("state", f"{config.state.path} (checkpoint every {config.state.checkpoint_every})")
    yield _entry("alerts", f"{config.alerts.path} ({config.alerts.format})")
    if config.channels:
        yield _entry("channels", ", ".join(f"{c.name} ({c.type})" for c in config.channels))
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


def _describe_files(config: Config) -> Iterator[str]:
    folder = WatchedFolder(config.stream.path)
    found = [entry for entry in folder.look() if entry.is_wanted and entry.size]
    files = "no files yet" if not found else f"{len(found):,} file{'s'[: len(found) - 1]}"
    yield _entry("source", f"{config.stream.path} ({config.source.type}, {files})")
    if found:
        newest = max(found, key=lambda entry: (entry.changed_ns, entry.path))
        reading = Source.open(folder.join(newest.path), config.settings).reading
        yield from _describe_reading(reading, Path(newest.path).name)


def _describe_shards(config: Config) -> Iterator[str]:
    """Say what stream it is, and how its oldest records are read, if there are any."""
    options = config.stream
    oldest = msgspec.structs.replace(options, start="trim_horizon", leases="")
    with oldest.open() as reader:
        shards = len(reader.live(0))
        region = options.access.region or "region of the AWS configuration"
        yield _entry(
            "source",
            f"{options.name} ({config.source.type}, {region}, {shards} "
            f"shard{'s'[: shards - 1]} to begin with)",
        )
        yield _entry("", f"start {options.start}, hold {options.hold}")
        if options.leases:
            yield _entry("", f"shared by leases in {options.leases}")
        chunks = [chunk for poll in range(1, 4) for chunk in reader.poll(poll * 1_000_000)]
        problems = list(reader.problems.values())
    for problem in problems:
        yield _entry("", problem)
    for chunk in chunks:
        shard = engine_sources.Source(chunk.partition, 0)
        for _ in shard.feed_patiently(chunk.data, chunk.end, config.settings, None):
            pass
        if shard.decoder is not None:
            yield from _describe_reading(shard.decoder.reading, chunk.partition)
            return
    yield _entry("", shard.problem if chunks else "no records yet")


def _describe_reading(reading: Reading, name: str) -> Iterator[str]:
    form = {"csv": f"CSV, delimiter {reading.delimiter!r}", "jsonl": "JSON Lines"}[reading.format]
    yield _entry("read as", f"{form}, dates {reading.dates} (from {name})")
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
