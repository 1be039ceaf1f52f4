"""The open files of a followed folder, limited in number."""

from __future__ import annotations

import os
from itertools import islice

from oddlot.errors import ConfigError
from oddlot.streams.chunks import PackedText, PlainText, Text, failed, packing_of
from oddlot.streams.folder import WatchedFolder
from oddlot.streams.followed import FollowedFile

_LIMIT = 256  # well below the usual limit of 1,024 descriptors


class OpenFiles:
    """Opens followed files and closes the longest unused where there are many.

    A file that is no longer in the folder stays open: nobody could open it again.
    """

    def __init__(self, folder: WatchedFolder) -> None:
        self._folder = folder
        self._used: dict[str, FollowedFile] = {}  # the longest unused first

    def ensure(self, file: FollowedFile) -> bool:
        """Open a file if it is not; False if it was moved since the look, or see `problem`."""
        file.problem = ""
        if file.text is None:
            place = (file.position.device, file.position.inode)
            try:
                file.text = self.open(file.position.path, place)
            except ConfigError as error:
                file.problem = str(error)
            except OSError as error:
                file.problem = str(failed(file.position.path, error))
        if file.text is not None:
            self.keep(file)
        return file.text is not None

    def keep(self, file: FollowedFile) -> None:
        """Note that an open file is in use."""
        self._used.pop(file.name, None)
        self._used[file.name] = file
        if len(self._used) > _LIMIT:
            for name in list(islice(self._used, 4)):
                other = self._used.pop(name)
                if other.is_there and other is not file:
                    other.let_go()
                if other.text is not None:
                    self._used[name] = other

    def open(self, path: str, place: tuple[int, int]) -> Text | None:
        """Open a file of the folder; None if there is another one at its path by now.

        Args:
            path: from the folder.
            place: device and inode that it must have.

        Raises:
            ConfigError: it is packed in a way that is not read.
            OSError: it cannot be opened.
        """
        try:
            handle = os.open(self._folder.join(path), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(handle)
            if (status.st_dev, status.st_ino) != place:
                os.close(handle)
                return None
            packing = packing_of(path, os.pread(handle, 8, 0))
        except (OSError, ConfigError):
            os.close(handle)
            raise
        return PackedText(handle, path, packing) if packing else PlainText(handle)
