"""Flows made as users make them: by an agent.json."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from oddlot.agent import config
from oddlot.agent.config import AgentConfig, Flow


def load(flow: dict[str, Any], **top: Any) -> AgentConfig:
    """Return the config with one flow, of *.log to the Kinesis stream "orders" unless said."""
    target = {} if "deliveryStream" in flow else {"kinesisStream": "orders"}
    whole = {"filePattern": "*.log", **target, **flow}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "agent.json")
        file.write_text(json.dumps({**top, "flows": [whole]}))
        return config.load(file)


def make_flow(*steps: dict[str, Any], **options: Any) -> Flow:
    """Return a flow with these dataProcessingOptions."""
    return load({"dataProcessingOptions": list(steps), **options}).flows[0]
