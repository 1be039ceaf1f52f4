"""Where compiled kernels are kept, and a word to the user when they must be compiled."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

_COMPILING = "Compiling the detectors for this machine, once: about a minute ..."
_STALE_SECONDS = 30 * 86_400
_listeners: list[object] = []  # one at most
_spent: list[float] = []  # seconds for each kernel that this run compiled


def prepare_kernels() -> None:
    """Choose a folder for compiled kernels, and say so when one has to be compiled.

    To be called before anything imports the engine: numba reads its settings once. A folder
    that NUMBA_CACHE_DIR names is left as it is.
    """
    if not os.environ.get("NUMBA_CACHE_DIR"):
        folder = _choose_folder()
        if folder is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
    from numba.core import event

    if _listeners:
        return
    is_said = False
    depth = 0
    started = 0.0

    class Compiling(event.Listener):
        """Hears when a kernel is compiled; one that comes from the cache makes no such event."""

        def on_start(self, _: object) -> None:
            nonlocal is_said, depth, started
            if not is_said:
                print(_COMPILING, file=sys.stderr, flush=True)  # noqa: T201  # talk is stderr's
                is_said = True
            if depth == 0:
                started = time.perf_counter()
            depth += 1

        def on_end(self, _: object) -> None:
            nonlocal depth
            depth -= 1
            if depth == 0:
                _spent.append(time.perf_counter() - started)

    _listeners.append(Compiling())
    event.register("numba:compile", _listeners[0])  # type: ignore[no-untyped-call]


def compile_seconds() -> float:
    """Return how long this run has spent on compiling kernels."""
    return sum(_spent)


def _choose_folder() -> Path | None:
    """Return a folder that this user alone can write, of these sources and this numba.

    numba looks at the file of a cached function only, not at the files of the functions that it
    calls: another version of Oddlot gets another folder.
    """
    name = f"kernels-{_digest_sources()}"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # never raises
    for caches in (
        Path(home, "oddlot"),
        Path(tempfile.gettempdir(), f"oddlot-{os.getuid()}"),
    ):
        folder = caches / name
        if not folder.is_absolute():
            continue  # there is no home
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What lies there is run: nobody else may have made it.
            if folder.stat().st_uid != os.getuid() or caches.stat().st_uid != os.getuid():
                continue
            os.utime(folder)
            (folder / "writable").touch()
        except OSError:
            continue
        _remove_stale(caches)
        return folder
    return None


def _digest_sources() -> str:
    digest = hashlib.blake2b(digest_size=8)
    numba = find_spec("numba")  # its version, without the time that importing it takes
    if numba is not None and numba.origin:
        digest.update(Path(numba.origin).with_name("_version.py").read_bytes())
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        text = source.read_bytes()
        if b"compiled" in text:
            digest.update(text)
    return digest.hexdigest()


def _remove_stale(caches: Path) -> None:
    """Remove the kernels of versions that were not used for long."""
    for folder in caches.glob("kernels-*"):
        try:
            is_stale = time.time() - folder.stat().st_mtime > _STALE_SECONDS
        except OSError:
            continue  # another process removed it
        if is_stale:
            shutil.rmtree(folder, ignore_errors=True)
