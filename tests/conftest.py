"""What every test may ask for: the real orders, and comparison with golden files."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parent.parent
pytest_plugins = ["loopback.fixtures"]
_STALE_SECONDS = 14 * 86_400


def _choose_kernel_cache() -> None:
    """Keep compiled kernels in the user's cache, in a folder of their own for these sources.

    numba looks only at the file of the cached function, not at the files of the functions that
    it calls: after an edit there it would go on with the old code.
    """
    digest = hashlib.blake2b(digest_size=8)
    for source in sorted((ROOT / "src").rglob("*.py")):
        text = source.read_bytes()
        if b"compiled" in text:
            digest.update(text)
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oddlot"
        folder = caches / f"tests-{digest.hexdigest()}"
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        for other in caches.glob("tests-*"):
            if time.time() - other.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    except (OSError, RuntimeError):
        return  # no home to write to: numba's own choice will do
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


# Before anything imports numba, which reads it once.
if not os.environ.get("NUMBA_CACHE_DIR"):
    _choose_kernel_cache()

# The first example may compile a kernel, so no example has a deadline; CI repeats itself.
hypothesis.settings.register_profile("oddlot", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("oddlot")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write golden files anew")


@pytest.fixture(scope="session")
def online_retail() -> Path:
    """The real orders, `OnlineRetail.csv.gz` in ODDLOT_DATA, by default ../shared/data."""
    folder = os.environ.get("ODDLOT_DATA")
    file = Path(folder or ROOT.parent / "shared" / "data") / "OnlineRetail.csv.gz"
    if not file.is_file():
        if not folder:
            pytest.skip("ODDLOT_DATA names no folder with OnlineRetail.csv.gz")
        pytest.fail(f"ODDLOT_DATA: must be a folder with OnlineRetail.csv.gz; got {folder}")
    return file


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """A function that compares a text with a stored file, or with --golden writes the file."""

    def compare(file: Path, text: str) -> None:
        if request.config.getoption("--golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
            return
        stored = file.read_bytes().decode() if file.is_file() else ""
        assert text == stored, f"{file.name} is out of date; run `make golden` and read the diff"

    return compare
