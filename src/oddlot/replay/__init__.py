"""Any orders file as growing, rotating log files."""

from oddlot.replay.player import Replay, Replayed, replay

__all__ = ["Replay", "Replayed", "replay"]
