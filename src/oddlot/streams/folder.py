"""What files there are under a folder or a pattern such as logs/**/*.csv."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from oddlot.errors import ConfigError, StreamError


class Entry(msgspec.Struct, frozen=True):
    """A file as a look into the folder finds it.

    Attributes:
        path: from the folder.
        device: as stat gives it.
        inode: as stat gives it.
        size: bytes.
        changed_ns: when it was last written.
        is_wanted: whether the user's pattern names it; the others may be rotated files.
    """

    path: str
    device: int
    inode: int
    size: int
    changed_ns: int
    is_wanted: bool

    @property
    def place(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode


class WatchedFolder:
    """The files that a folder, a file name or a pattern stands for.

    In a folder, every file counts but hidden ones and those that end in ~; its own folders do not.

    Args:
        path: as the user wrote it; * and ? and [] as in a shell, ** for any depth.

    Raises:
        ConfigError: the folder is not there or may not be listed.
    """

    def __init__(self, path: str) -> None:
        self.problems: dict[str, str] = {}
        plain = _unescape(path)
        if not _has_magic(path) and Path(plain).is_dir():
            self.folder, self._parts = plain, ["*"]
        else:
            # A file that is named may be written later, its folder may not.
            parts = Path(path).parts or ("",)
            count = next((i for i, part in enumerate(parts) if _has_magic(part)), len(parts) - 1)
            self.folder = _unescape(str(Path(*parts[:count])))
            self._parts = list(parts[count:])
            if not _has_magic(path) and not Path(plain).suffix and not Path(plain).exists():
                raise ConfigError(f"{path}: there is no such folder")
        try:
            os.scandir(self.folder).close()
        except FileNotFoundError:
            raise ConfigError(f"{self.folder}: there is no such folder") from None
        except NotADirectoryError:
            raise ConfigError(f"{self.folder}: must be a folder; got a file") from None
        except OSError as error:
            raise ConfigError(f"{self.folder}: cannot be listed: {error.strerror}") from None

    def join(self, path: str) -> str:
        """Return where a file of the folder is, for opening it."""
        return f"{self.folder}/{path}"

    def look(self) -> list[Entry]:
        """Return every file once, wanted ones first, with the others that lie beside them.

        Raises:
            StreamError: the folder cannot be listed now.
        """
        self.problems.clear()
        try:
            found = sorted(self._walk("", self._parts), key=lambda entry: not entry.is_wanted)
        except OSError as error:
            raise StreamError(f"{self.folder}: cannot be listed: {error.strerror}") from None
        entries: dict[tuple[int, int], Entry] = {}
        for entry in found:
            entries.setdefault(entry.place, entry)  # a link to a file is that file
        return list(entries.values())

    def _walk(self, prefix: str, parts: list[str]) -> Iterator[Entry]:
        part, rest = parts[0], parts[1:]
        if part == "**":
            yield from self._walk(prefix, rest or ["*"])
        with os.scandir(self.join(prefix)) as found:
            inside = list(found)
        for item in inside:
            path = prefix + item.name
            if part == "**" or rest:
                if _matches(item.name, part) and item.is_dir(follow_symlinks=part != "**"):
                    yield from self._enter(path, parts if part == "**" else rest)
                continue
            try:
                status = item.stat()
            except OSError:
                continue  # gone since, or a link to nothing
            if stat.S_ISREG(status.st_mode):
                yield Entry(
                    path,
                    status.st_dev,
                    status.st_ino,
                    status.st_size,
                    status.st_mtime_ns,
                    _matches(item.name, part),
                )

    def _enter(self, path: str, parts: list[str]) -> Iterator[Entry]:
        try:
            yield from self._walk(f"{path}/", parts)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.problems[path] = f"{path}: cannot be listed: {error.strerror}"


def _matches(name: str, part: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    if part in {"*", "**"}:
        return not name.endswith("~")
    return fnmatch.fnmatchcase(name, part)


def _has_magic(path: str) -> bool:
    return glob.has_magic(re.sub(r"\[[*?[]\]", "", path))


def _unescape(path: str) -> str:
    return re.sub(r"\[([*?[])\]", r"\1", path)
