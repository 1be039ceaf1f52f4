"""A shop with odd lines, the page of its report, and what a reader finds on it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from oddlot import config as configs
from oddlot.detect import Summary, choose, detect
from oddlot.simulate import Shop, simulate

NOW_US = 1_800_000_000_000_000
SCRIPT = "<script>alert('x')</script>"
SPIKES = (
    "999998,ZAP,\"<script>alert('x')</script>\",90000,2024-01-19 20:58:00,1.5,17850,Spain\n"
    "C999999,ZAP,\"<script>alert('x')</script>\",-90000,2024-01-19 20:59:00,1.5,17850,Spain\n"
)


def shop() -> bytes:
    """Return the orders of a small shop; a product that is named like a script sells oddly."""
    pieces, _ = simulate(Shop(days=12, skus=40, lines_per_day=300, faults_per_day=0))
    return b"".join(pieces.text()) + SPIKES.encode()


# One detector is enough for a page, and this one finds the spike.
SPIKE = '[[detectors]]\ntype = "quantity_spike"\n'


def run(files: list[str], report: Path, text: str = SPIKE, budget: float = 5.0) -> Summary:
    """Run `detect` with a report and nothing else written."""
    config = choose(configs.from_text(text, "a test"), budget=budget)
    return detect(files, config, None, lambda _: None, NOW_US, report=str(report))


class Reader(HTMLParser):
    """Takes a page apart.

    Attributes:
        tags: how often each came.
        attributes: all of them, as (tag, name, value).
        text: what is not in a tag, without the style.
        style: what stands in the style.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.text, self.style = "", ""
        self._is_style = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._is_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._is_style = False

    def handle_data(self, data: str) -> None:
        if self._is_style:
            self.style += data
        else:
            self.text += data
