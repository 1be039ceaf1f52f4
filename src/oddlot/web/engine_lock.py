"""Whether an engine is at work on a state folder, without standing in its way."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from pathlib import Path

LOCK = "oddlot.lock"
# struct flock of fcntl.h: type, whence, start, length, process on Linux; another order elsewhere.
_IS_LINUX = sys.platform.startswith("linux")
_FORM = "@hhqqi4x" if _IS_LINUX else "@qqihh"


def is_locked(folder: Path) -> bool:
    """Tell whether another process holds the folder's lock; asks the system, locks nothing.

    Never to be called in the process that holds it: a lock of POSIX's goes when its process closes
    the file, whichever handle it was.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        wanted = (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        if not _IS_LINUX:
            wanted = (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FORM, *wanted))
        kind = struct.unpack(_FORM, answer)[0 if _IS_LINUX else 3]
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return bool(kind != fcntl.F_UNLCK)
