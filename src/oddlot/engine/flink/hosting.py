"""Runs a shop's detectors on Flink: submits the job, takes over what it writes, stops it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from oddlot.config import Config
from oddlot.engine.flink import cluster, home, statements
from oddlot.engine.flink.submit import cluster_settings, local_settings, submit
from oddlot.errors import ConfigError, OddlotError, StreamError
from oddlot.outbox import router
from oddlot.schema import Alert, Incident, Reject
from oddlot.store import Store

_LOOK_SECONDS = 1.0
_ENDED = {"FINISHED", "FAILED", "CANCELED"}


class Hosted(msgspec.Struct, frozen=True):
    """How far a hosted run is.

    Attributes:
        job: its id in Flink's dashboard; "" before it runs.
        alerts: how many alerts were stored since the run began.
        newest: those since the last call.
    """

    job: str
    alerts: int
    newest: list[Alert]


def run(
    config: Config,
    *,
    clock_us: Callable[[], int],
    sleep: Callable[[float], None],
    should_stop: Callable[[], bool],
    on_progress: Callable[[Hosted], object],
    say: Callable[[str], None],
    fresh: bool = False,
) -> None:
    """Run the detectors on Flink until `should_stop`, or until the input ends.

    Flink writes what was found to files in the alerts' folder, each once, with its checkpoints;
    they are taken over into the store, which knows an alert that it has by its id. Stopped, the
    job leaves a savepoint, and the next run goes on from there.

    Raises:
        ConfigError: Flink is not installed, or the source is none that it can read.
        StreamError: the cluster is gone, or the job failed.
    """
    there = home.find_home()
    out = Path(config.alerts.path).resolve() / "flink"
    out.mkdir(parents=True, exist_ok=True)
    with Store.open(
        Path(config.state.path), fresh=fresh, route=router(config.channels, clock_us)
    ) as store:
        saved = Path(config.state.path).resolve() / "savepoints"
        order = make_order(config, there, out, None if fresh else newest_savepoint(saved))
        if order["settings"].get("execution.state-recovery.path"):
            say(f"goes on from {order['settings']['execution.state-recovery.path']}")
        job = _Job(there, order, say)
        job.start()
        takeover = Takeover(out, store)
        alerts = 0
        while True:
            is_last = job.has_ended or should_stop()
            if is_last and not job.has_ended:
                job.stop(config.flink.cluster, saved, sleep)
            newest = takeover.look()
            alerts += len(newest)
            on_progress(Hosted(job.id, alerts, newest))
            if is_last:
                break
            sleep(_LOOK_SECONDS)
        job.finish()


def make_order(
    config: Config, there: home.Home, out: Path, savepoint: str | None
) -> dict[str, Any]:
    """Say what the job has to do, as `hosted_job` reads it.

    Raises:
        ConfigError: the source is none that Flink can read.
    """
    options = config.flink
    settings = local_settings(options.parallelism)
    settings |= {
        # Files are committed with a checkpoint; the cluster's own interval is not asked for.
        "execution.checkpointing.interval": config.state.checkpoint_every,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "python.executable": str(there.python),
        "python.client.executable": str(there.python),
        "python.fn-execution.arrow.batch.size": str(options.batch),
        # A bundle ends with a batch, so that none waits for the next one.
        "python.fn-execution.bundle.size": str(options.batch),
    }
    if options.cluster == "local":
        settings["execution.checkpointing.dir"] = (out.parent / "checkpoints").as_uri()
    else:
        settings |= cluster_settings(options.cluster, there)
    if savepoint:
        settings["execution.state-recovery.path"] = savepoint
    idle_us = config.time.idle_us
    return {
        "name": f"oddlot {config.place}",
        "config": msgspec.json.encode(config.table).decode(),
        "statements": list(_source(config)),
        "settings": settings,
        "idle_ms": None if idle_us is None or options.ends else idle_us // 1000,
        "output": out.as_uri(),
        "waits": True,
    }


def newest_savepoint(folder: Path) -> str | None:
    """Return the newest savepoint that is whole; None where there is none."""
    found = [file.parent for file in folder.glob("savepoint-*/_metadata")]
    newest = max(found, key=lambda one: one.stat().st_mtime_ns, default=None)
    return newest.as_uri() if newest else None


class Takeover:
    """Takes over into the store what the job has written and Flink has committed."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._seen: set[Path] = set()
        self._known = {alert.id for alert in store.alerts()}

    def look(self) -> list[Alert]:
        """Store what is new; return the alerts that the store did not have."""
        alerts = self._read("alerts", Alert)
        incidents = {one.id: one for one in self._read("incidents", Incident)}
        rejects = self._read("rejects", Reject)
        if not (alerts or incidents or rejects):
            return []
        self._store.add_alerts(alerts, list(incidents.values()), rejects)
        fresh = [alert for alert in alerts if alert.id not in self._known]
        self._known |= {alert.id for alert in fresh}
        return fresh

    def _read(self, name: str, record: Any) -> list[Any]:
        # A name that begins with a point is not committed yet.
        found = [
            file
            for file in (self._folder / name).glob("**/part-*")
            if file not in self._seen and ".inprogress." not in file.name
        ]
        records: list[Any] = []
        for file in sorted(found, key=lambda one: (one.stat().st_mtime_ns, one.name)):
            self._seen.add(file)
            records += [_read(line, record) for line in file.read_bytes().splitlines()]
        return records


def _read(line: bytes, record: Any) -> Any:
    """Read a record; JSON has no NaN, so that a price that is not known is null there."""
    values = msgspec.json.decode(line)
    if record is Alert:
        values["evidence"] = {
            k: math.nan if v is None else v for k, v in values["evidence"].items()
        }
        values |= {name: math.nan for name, value in values.items() if value is None}
    return msgspec.convert(values, record)


class _Job(threading.Thread):
    """The job's program, which ends with the job."""

    def __init__(self, there: home.Home, order: dict[str, Any], say: Callable[[str], None]) -> None:
        super().__init__(name="flink job", daemon=True)
        self.id = ""
        self.has_ended = False
        self._there = there
        self._order = order
        self._say = say
        self._error: OddlotError | None = None
        self._is_stopped = False

    def run(self) -> None:
        """Submit the job and wait for its end."""
        try:
            submit(
                self._there,
                "oddlot.engine.flink.hosted_job",
                self._order,
                lambda line: None,
                on_told=self._hear,
            )
        except OddlotError as error:
            self._error = error
        finally:
            self.has_ended = True

    def _hear(self, told: dict[str, Any]) -> None:
        if "job" in told:
            self.id = str(told["job"])
            self._say(f"Flink runs it as job {self.id}")

    def stop(self, url: str, folder: Path, sleep: Callable[[float], None]) -> None:
        """Stop the job with a savepoint."""
        if not self.id or url == "local":
            raise StreamError("Flink: a local job cannot be stopped before its input ends")
        folder.mkdir(parents=True, exist_ok=True)
        where = cluster.savepoint(url, self.id, folder, sleep)
        self._is_stopped = True
        self._say(f"stopped with a savepoint: {where}")
        self.join(60)

    def finish(self) -> None:
        """Raise what ended the job, unless it was asked to stop or its input ended."""
        if self._error is not None and not self._is_stopped:
            raise self._error


def _source(config: Config) -> Iterator[str]:
    """Yield the statements that make the table `records`."""
    folder = statements.folder()
    kind = config.source.type
    if kind == "files":
        path = Path(config.stream.path)
        if not path.exists():
            raise ConfigError(f"{path}: must be a folder of order files, or one; it is not there")
        options = {"records.path": path.resolve().as_uri()}
        if not config.flink.ends:
            options["records.source.monitor-interval"] = "1 s"
        yield from statements.override(statements.read([folder / "records_files.sql"]), options)
        return
    raise ConfigError(
        f"{config.place}: source: type must be files for --engine flink; got {kind!r}. The agent or"
        " a connector can bring a stream's records into files"
    )
