"""Whether a file was shipped whole, for those who want to rotate or delete it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from oddlot.agent.checkpoints import Checkpoints
from oddlot.agent.flows import AgentConfig
from oddlot.errors import ConfigError, StreamError
from oddlot.streams.chunks import PackedText, PlainText, Text, open_file, packing_of
from oddlot.streams.folder import WatchedFolder
from oddlot.streams.followed import digest, find_opening

_BEFORE = 256


class FileState(msgspec.Struct, frozen=True):
    """How far a flow shipped a file.

    Attributes:
        flow: its id.
        shipped: bytes of text that were acknowledged, and are saved as such.
        size: bytes of the file; of its text, where it is not packed.
        is_shipped: whether everything was, up to the last line end that is there now.
    """

    flow: str
    shipped: int
    size: int
    is_shipped: bool


def status(config: AgentConfig, path: str) -> list[FileState]:
    """Look up a file in every flow that follows it, under whatever name it was read.

    Args:
        config: from agent.json.
        path: the file.

    Raises:
        ConfigError: the file cannot be read, or no flow follows it.
        StateError: no agent ran with this config.
    """
    handle = open_file(path)
    try:
        packing = packing_of(path, os.pread(handle, 8, 0))
        text: Text = PackedText(handle, path, packing) if packing else PlainText(handle)
        states = Checkpoints.read(config.state)
        try:
            found = []
            for flow in config.flows:
                positions = states.load(flow.id).positions
                places = [one for by_name in positions.values() for one in by_name.values()]
                state = _find(flow.id, places, text, is_followed=_is_followed(flow.patterns, path))
                if state is not None:
                    found.append(state)
        finally:
            states.close()
    finally:
        os.close(handle)
    if not found:
        raise ConfigError(f"{path}: must be a file that a flow of {config.place} follows")
    return found


def tell(config: AgentConfig, path: str, say: Callable[[str], None]) -> int:
    """Say for each flow how far it shipped a file.

    Returns:
        0 if every one of them shipped it whole, and 1 if not: for logrotate's scripts.
    """
    found = status(config, path)
    for one in found:
        if one.is_shipped:
            say(f"{one.flow}: {path}: all shipped")
        else:
            say(f"{one.flow}: {path}: {one.shipped:,} of {one.size:,} bytes shipped")
    return 0 if all(one.is_shipped for one in found) else 1


def _find(
    flow: str, places: Sequence[Mapping[str, Any]], text: Text, *, is_followed: bool
) -> FileState | None:
    """Return the state of a text in one flow; None where the flow has nothing to do with it."""
    whole = os.fstat(text.handle)
    size = whole.st_size
    end = size if isinstance(text, PackedText) else _find_end(text, size)
    opening = find_opening(text, is_still=True)
    best = -1
    is_done = False
    for place in places:
        is_same = (place["device"], place["inode"]) == (whole.st_dev, whole.st_ino)
        if not is_same and (opening is None or place["opening"] != opening[0]):
            continue
        before = text.take(max(0, place["offset"] - _BEFORE), min(_BEFORE, place["offset"]))
        if place["offset"] and digest(before) != place["last"]:
            continue
        best = max(best, place["offset"])
        is_done = is_done or (place["is_packed"] and is_same and place["is_done"])
    if best < 0 and not is_followed:
        return None
    shipped = max(0, best)
    if isinstance(text, PackedText):
        is_done = is_done or (best >= 0 and not text.take(best, 1) and text.is_whole)
        return FileState(flow, shipped, size, is_done)
    return FileState(flow, shipped, size, shipped >= end)


def _find_end(text: Text, size: int) -> int:
    """Return the offset behind the last line end; an unfinished line cannot be shipped yet."""
    at = size
    while at > 0:
        start = max(0, at - (1 << 16))
        cut = text.take(start, at - start).rfind(b"\n") + 1
        if cut:
            return start + cut
        at = start
    return 0


def _is_followed(patterns: tuple[str, ...], path: str) -> bool:
    """Tell whether a pattern names a file."""
    file = Path(path).resolve()
    for pattern in patterns:
        try:
            folder = WatchedFolder(pattern)
            names = [entry.path for entry in folder.look() if entry.is_wanted]
        except (ConfigError, StreamError):
            continue
        if any(Path(folder.join(name)).resolve() == file for name in names):
            return True
    return False
