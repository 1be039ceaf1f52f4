"""A cluster on this machine, kept alive until the user ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oddlot.endings import until_ended
from oddlot.engine.flink.cluster import Cluster, ClusterOptions
from oddlot.engine.flink.home import find_home

_LOOK_SECONDS = 1.0


def attend(folder: Path, port: int, workers: int, slots: int, say: Callable[[str], None]) -> None:
    """Start a cluster, start anew what dies, and end all of it at Ctrl-C or SIGTERM.

    Raises:
        ConfigError: Flink is not installed, or the port is taken.
        StreamError: it did not start, or its job manager died.
    """
    options = ClusterOptions(folder, port=port, workers=workers, slots=slots)
    with until_ended(second_ends=False) as stop, Cluster(find_home(), options) as cluster:
        say(f"{cluster.url}  Flink's dashboard; Ctrl-C ends the cluster")
        while not stop.wait(_LOOK_SECONDS):
            for line in cluster.watch():
                say(line)
