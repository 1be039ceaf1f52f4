"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from oddlot import kernels


def choose(monkeypatch: pytest.MonkeyPatch, home: Path, temporary: Path) -> Path | None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return kernels._choose_folder()


def test_kernels_are_kept_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = choose(monkeypatch, tmp_path / "cache", tmp_path)
    assert folder is not None
    assert folder.parent == tmp_path / "cache" / "oddlot"
    assert folder == choose(monkeypatch, tmp_path / "cache", tmp_path), "twice the same"


@pytest.mark.parametrize("home", ["a file", "relative"])
def test_kernels_go_to_a_temporary_folder_where_there_is_no_home(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    place = tmp_path / home if home == "a file" else Path("~")
    folder = choose(monkeypatch, place, tmp_path)
    assert folder is not None
    assert folder.parent == tmp_path / f"oddlot-{os.getuid()}"


def test_nowhere_to_write_leaves_numba_its_own_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").touch()
    assert choose(monkeypatch, tmp_path / "a file", tmp_path / "a file") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only a superuser can give a folder away")
def test_a_folder_of_somebody_else_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = tmp_path / "cache" / "oddlot"
    theirs.mkdir(parents=True)
    os.chown(theirs, 65534, 65534)
    folder = choose(monkeypatch, tmp_path / "cache", tmp_path)
    assert folder is not None
    assert not folder.is_relative_to(theirs)


def test_kernels_that_nobody_used_for_long_are_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    caches = tmp_path / "cache" / "oddlot"
    old, fresh = caches / "kernels-old", caches / "kernels-new"
    for folder in (old, fresh):
        folder.mkdir(parents=True)
    long_ago = time.time() - 40 * 86_400
    os.utime(old, (long_ago, long_ago))
    choose(monkeypatch, tmp_path / "cache", tmp_path)
    assert not old.exists()
    assert fresh.exists()
