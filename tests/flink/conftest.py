"""Flink itself, installed once, and a real cluster for the tests that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oddlot.engine.flink import home
from oddlot.engine.flink.cluster import Cluster, ClusterOptions
from oddlot.errors import OddlotError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def flink() -> Iterator[home.Home]:
    """Flink's environment in .venv/flink; a machine that cannot have it skips, CI fails."""
    before = os.environ.get(home.PLACE)
    os.environ[home.PLACE] = before or str(ROOT / ".venv" / "flink")
    try:
        home.install(home.default_folder(), print)
        yield home.find_home()
    except OddlotError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
    finally:
        if before is None:
            os.environ.pop(home.PLACE, None)


@pytest.fixture(scope="session")
def kafka_jar(flink: home.Home) -> Path:
    """Kafka's connector, from Maven Central by the machine's own Maven."""
    folder = home.default_folder() / "connectors"
    jar = folder / "flink-sql-connector-kafka-4.0.1-2.0.jar"
    if not jar.is_file():
        maven = shutil.which("mvn")
        if maven is None:
            pytest.skip("there is no mvn, which brings Kafka's connector")
        artifact = "org.apache.flink:flink-sql-connector-kafka:4.0.1-2.0"
        subprocess.run(
            [maven, "-B", "-q", "dependency:copy", f"-Dartifact={artifact}",
             f"-DoutputDirectory={folder}"],
            check=True, capture_output=True, timeout=240,
        )  # fmt: skip
    return jar


@pytest.fixture(scope="session")
def cluster(flink: home.Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two task managers."""
    folder = tmp_path_factory.mktemp("cluster")
    options = ClusterOptions(folder, port=0, workers=2, slots=3)
    with Cluster(flink, options) as started:
        yield started
