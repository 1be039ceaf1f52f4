"""Starts a job in Flink's own Python and hears what it tells."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from oddlot.engine.flink import statements
from oddlot.engine.flink.home import Home, find_home, find_jar
from oddlot.errors import ConfigError, StreamError

_CONNECTOR = re.compile(r"'connector'\s*=\s*'([\w-]+)'")
_JARS = {
    "kafka": "flink-sql-connector-kafka-",
    "kinesis": "flink-sql-connector-aws-kinesis-streams-",
}
_LAST = 40  # lines of the job's own talk that are kept for its error
# What Flink says first of what the user can mend, and what to do about it.
_KNOWN = (
    ("Could not find any factory for identifier", "a connector's jar is missing"),
    ("ClassNotFoundException", "a jar is missing, or of another Flink"),
    ("UnsupportedClassVersionError", "the Java is too old"),
    ("Connection refused", "the cluster is gone: oddlot flink start"),
)


def local_settings(parallelism: int = 1) -> dict[str, str]:
    """Return the settings of a job that runs inside its own process."""
    return {
        "execution.target": "local",
        "parallelism.default": str(parallelism),
        # Without it a task that has no file to read would hold the watermark back for ever.
        "table.exec.source.idle-timeout": "2 s",
    }


def cluster_settings(url: str, there: Home, jars: Sequence[Path] = ()) -> dict[str, str]:
    """Return the settings that send a job to a cluster.

    Args:
        url: of its REST interface, such as "http://127.0.0.1:8081".
        there: where Flink is; its jar that runs Python goes along with the job.
        jars: what else goes along.

    Raises:
        ConfigError: the address has no host and port.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise ConfigError(f"--cluster {url}: must be like http://127.0.0.1:8081")
    return {
        "execution.target": "remote",
        "rest.address": parts.hostname,
        "rest.port": str(parts.port),
        "pipeline.jars": _jars([*sorted((there.flink / "opt").glob("flink-python-*.jar")), *jars]),
    }


def _jars(files: Sequence[Path]) -> str:
    return ";".join(file.resolve().as_uri() for file in files)


def submit(
    home: Home,
    module: str,
    order: Mapping[str, Any],
    on_line: Callable[[str], None],
    on_told: Callable[[dict[str, Any]], None] = lambda told: None,
    memory: str = "1500m",
) -> list[dict[str, Any]]:
    """Run a job's program to its end, and return what it told.

    Args:
        home: where Flink is.
        module: the program, such as "oddlot.engine.flink.sql_job".
        order: what it reads from standard input, as JSON.
        on_line: told each line that is not the program's own, such as the rows of a SELECT.
        on_told: told each thing that the program tells, at once.
        memory: heap of the JVM; Flink's own default is a quarter of the machine.

    Raises:
        StreamError: the job failed; the text is Flink's first cause, in one line.
    """
    environment = home.environment() | {"JVM_ARGS": f"-Xmx{memory}"}
    with subprocess.Popen(  # noqa: S603  # our own module in Flink's Python
        [home.python, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as program:
        assert program.stdin  # noqa: S101  # both are pipes
        assert program.stdout  # noqa: S101
        program.stdin.write(msgspec.json.encode(order).decode())
        program.stdin.close()
        told: list[dict[str, Any]] = []
        talk: list[str] = []
        for line in program.stdout:
            if line.startswith('{"'):
                told.append(msgspec.json.decode(line))
                on_told(told[-1])
            else:
                talk = [*talk[1 - _LAST :], line.rstrip()]
                on_line(line.rstrip("\n"))
    if program.returncode:
        raise StreamError(f"Flink: the job failed: {first_cause(talk)}")
    return told


def first_cause(talk: Sequence[str]) -> str:
    """Find the cause in a Java trace: its last `Caused by`, and a word of advice where we know."""
    causes = [line for line in talk if "Caused by:" in line or "Exception" in line]
    cause = (causes or list(talk) or ["nothing said"])[-1].strip()
    said = cause.removeprefix("Caused by:").removeprefix(":").strip()[:400]
    whole = "\n".join(talk)
    advice = next((what for sign, what in _KNOWN if sign in whole), "")
    return f"{said} ({advice})" if advice else said


def run_sql(
    files: Sequence[str],
    options: Mapping[str, str],
    url: str | None,
    on_line: Callable[[str], None],
) -> list[str]:
    """Run SQL files to their end, here or on a cluster; return what to tell the user.

    Args:
        files: names of ours or paths, in order.
        options: see `statements.override`; a path may be a plain one.
        url: of the cluster; None runs Flink inside this command.
        on_line: told each line that a SELECT prints.

    Raises:
        ConfigError: a file is not there, or Flink is not.
        StreamError: the job failed.
    """
    there = find_home()
    placed = {
        name: Path(value).resolve().as_uri()
        if name.endswith(".path") and "://" not in value
        else value
        for name, value in options.items()
    }
    texts = statements.override(statements.read([statements.find(one) for one in files]), placed)
    connectors = [find_jar(one) for one in jars(texts)]
    settings = {"execution.checkpointing.interval": "10 s", **local_settings()}
    if url:
        settings |= cluster_settings(url, there, connectors)
    elif connectors:
        settings["pipeline.jars"] = _jars(connectors)
    order = {"statements": texts, "settings": settings, "waits": True}
    told = submit(there, "oddlot.engine.flink.sql_job", order, on_line)
    return [f"job {one['job']} has ended" for one in told if "job" in one]


def jars(texts: Sequence[str]) -> list[str]:
    """Return how the names of the connectors' jars begin that some statements need."""
    found = {kind for text in texts for kind in _CONNECTOR.findall(text)}
    return [_JARS[kind] for kind in sorted(found) if kind in _JARS]
