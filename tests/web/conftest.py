"""A simulated shop that was watched, its dashboard, and a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from web.served import Served, serving
from web.stores import simulate

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a shop that the engine has watched."""
    return simulate(tmp_path_factory.mktemp("web") / "shop")


@pytest.fixture(scope="session")
def dashboard(shop: Path) -> Iterator[Served]:
    """The dashboard of that shop, entered."""
    with serving(shop) as served:
        served.enter()
        yield served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium; CI must have one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if "CI" in os.environ:
            pytest.fail("there must be a chromium on the path; there is none")
        pytest.skip("there is no chromium on the path")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()
