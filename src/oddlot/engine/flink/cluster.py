"""A standalone Flink cluster on this machine, on loopback only, from Flink's pip package."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec

from oddlot.engine.flink.home import Home
from oddlot.errors import ConfigError, StreamError

_UP_SECONDS = 120.0  # a slow machine's JVM
_LEAVE_SECONDS = 15.0
_JVM_OPTIONS = re.compile(r"^env:\n(?:[ \t]+.*\n)+", re.MULTILINE)


class ClusterOptions(msgspec.Struct, frozen=True):
    """How large the cluster is.

    Attributes:
        folder: keeps its config, logs, checkpoints and savepoints.
        port: of the dashboard and the REST interface, on 127.0.0.1; 0 takes a free one.
        workers: task managers.
        slots: tasks that one of them runs at a time.
        memory: of a task manager, megabytes.
    """

    folder: Path
    port: int = 8081
    workers: int = 1
    slots: int = 4
    memory: int = 1728


class Cluster:
    """A job manager and its task managers; use it in a `with`.

    Flink itself does not restart a task manager that died: `watch` does.

    Attributes:
        port: of the dashboard.
    """

    def __init__(self, home: Home, options: ClusterOptions) -> None:
        """Write the config; nothing runs yet.

        Raises:
            ConfigError: the port is in use.
        """
        self.home = home
        self.options = options
        self.port = options.port or _free_port()
        if options.port and not _is_free(options.port):
            raise ConfigError(
                f"--port {options.port}: must be a free port; another program listens there"
            )
        self._folder = options.folder.resolve()
        self._manager: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        for name in ("conf", "log", "checkpoints", "savepoints", "tmp"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._write_config()

    @property
    def url(self) -> str:
        """The dashboard's address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start every process and wait until the task managers have offered their slots.

        Raises:
            StreamError: they did not; the log says why.
        """
        self._manager = self._launch("jobmanager.sh", "jobmanager")
        self._workers = [self._launch_worker(i) for i in range(self.options.workers)]
        wanted = self.options.workers * self.options.slots
        give_up = time.monotonic() + _UP_SECONDS
        while time.monotonic() < give_up:
            if self._manager.poll() is not None:
                break
            if self._slots() >= wanted:
                return
            time.sleep(0.2)
        raise StreamError(f"{self.url}: Flink did not start: see {self._folder / 'log'}")

    def watch(self) -> list[str]:
        """Start anew what has died; return one line for each.

        Raises:
            StreamError: the job manager died: the jobs are gone.
        """
        if self._manager is None or self._manager.poll() is not None:
            raise StreamError(f"{self.url}: the job manager has ended: see {self._folder / 'log'}")
        said = []
        for i, worker in enumerate(self._workers):
            if worker.poll() is not None:
                _end_group(worker, signal.SIGKILL)  # its Python workers would live on
                self._workers[i] = self._launch_worker(i)
                said.append(
                    f"task manager {i + 1} ended ({worker.returncode}) and was started anew"
                )
        return said

    def kill_worker(self, number: int) -> None:
        """Kill a task manager, as a test or a chaos drill wants it."""
        _end_group(self._workers[number], signal.SIGKILL)
        self._workers[number].wait()

    def stop(self) -> None:
        """End every process, their Python workers too."""
        everything = [*self._workers, *([self._manager] if self._manager else [])]
        for process in everything:
            _end_group(process, signal.SIGTERM)
        give_up = time.monotonic() + _LEAVE_SECONDS
        for process in everything:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, give_up - time.monotonic()))
            _end_group(process, signal.SIGKILL)
            process.wait()
        self._workers, self._manager = [], None

    def _slots(self) -> int:
        try:
            return int(ask(self.url, "/overview")["slots-total"])
        except (StreamError, KeyError):
            return 0

    def _launch_worker(self, number: int) -> subprocess.Popen[bytes]:
        return self._launch("taskmanager.sh", f"taskmanager-{number + 1}")

    def _launch(self, script: str, name: str) -> subprocess.Popen[bytes]:
        environment = self.home.environment() | {
            "FLINK_CONF_DIR": str(self._folder / "conf"),
            "FLINK_LOG_DIR": str(self._folder / "log"),
        }
        with (self._folder / "log" / f"{name}.out").open("ab") as out:
            return subprocess.Popen(  # noqa: S603  # Flink's own script
                ["/bin/bash", str(self.home.flink / "bin" / script), "start-foreground"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
            )

    def _write_config(self) -> None:
        shipped = (self.home.flink / "conf" / "config.yaml").read_text("utf-8")
        found = _JVM_OPTIONS.search(shipped)
        local, folder = "127.0.0.1", self._folder.as_uri()
        settings: dict[str, Any] = {
            "jobmanager.rpc.address": local,
            "jobmanager.rpc.port": _free_port(),
            "jobmanager.bind-host": local,
            "jobmanager.memory.process.size": "1024m",
            "blob.server.port": 0,
            "taskmanager.host": local,
            "taskmanager.bind-host": local,
            "taskmanager.numberOfTaskSlots": self.options.slots,
            "taskmanager.memory.process.size": f"{self.options.memory}m",
            # As shipped, Flink's dashboard listens on every interface and takes anybody's jar.
            "rest.address": local,
            "rest.bind-address": local,
            "rest.port": self.port,
            "web.submit.enable": False,
            "parallelism.default": 1,
            "heartbeat.interval": "2 s",
            "heartbeat.timeout": "8 s",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 1000000,
            "restart-strategy.fixed-delay.delay": "1 s",
            "execution.checkpointing.dir": f"{folder}/checkpoints",
            "execution.checkpointing.savepoint-dir": f"{folder}/savepoints",
            "state.backend.type": "hashmap",
            "io.tmp.dirs": str(self._folder / "tmp"),
            "python.executable": str(self.home.python),
            "python.client.executable": str(self.home.python),
        }
        lines = [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
        text = (found[0] if found else "") + "\n".join(lines) + "\n"
        (self._folder / "conf" / "config.yaml").write_text(text, "utf-8")
        for name in ("log4j-console.properties", "logback-console.xml"):
            (self._folder / "conf" / name).write_bytes(
                (self.home.flink / "conf" / name).read_bytes()
            )


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask Flink's REST interface.

    Args:
        url: of the cluster, such as "http://127.0.0.1:8081".
        path: such as "/jobs".
        body: sent by POST; None asks by GET.

    Raises:
        StreamError: nobody answers there, or the answer is a refusal.
    """
    data = None if body is None else msgspec.json.encode(body)
    request = urllib.request.Request(  # noqa: S310  # the address is http, and ours
        url + path, data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            answer: dict[str, Any] = json.loads(reply.read())
            return answer
    except urllib.error.HTTPError as error:
        said = error.read().decode("utf-8", "replace").splitlines()
        raise StreamError(
            f"{url}{path}: Flink refused: {said[0][:300] if said else error}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise StreamError(
            f"{url}: must be a Flink cluster; it does not answer ({reason})."
            " Start one: oddlot flink start"
        ) from None


def savepoint(url: str, job: str, folder: Path, sleep: Callable[[float], None]) -> str:
    """Stop a job with a savepoint and return the savepoint's path.

    Raises:
        StreamError: it could not be made.
    """
    asked = {"targetDirectory": folder.resolve().as_uri(), "drain": False}
    trigger = ask(url, f"/jobs/{job}/stop", asked)["request-id"]
    while True:
        answer = ask(url, f"/jobs/{job}/savepoints/{trigger}")
        if answer["status"]["id"] == "COMPLETED":
            operation = answer["operation"]
            if "location" in operation:
                return str(operation["location"])
            cause = operation["failure-cause"]["class"]
            raise StreamError(f"{url}: job {job}: the savepoint failed: {cause}")
        sleep(0.2)


def _end_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
