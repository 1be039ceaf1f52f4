"""The stack of deploy/aws, deployed once to a MiniStack of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployed import Deployed, function_zip
from loopback.fixtures import run_ministack


@pytest.fixture(scope="session")
def deployed(loopback: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    code = function_zip(tmp_path_factory.mktemp("code"))
    with run_ministack(tls=True) as server:
        yield Deployed(server, code)
