"""The dashboard in a real Chromium: first load, the inbox of 100,000 incidents, news, the demo.

Medians (and worst) in milliseconds on an otherwise idle machine, browser and server together on it.
With --cold the demo first compiles every kernel, as after an installation.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from oddlot.schema import Alert, Incident
from oddlot.store import Store

NOON_US = 1_705_320_000_000_000
DETECTORS = ("quantity_spike", "price_error", "demand_drop", "silent_sku", "return_surge")
FILTERS = {
    "most severe first": "/inbox",
    "newest first": "/inbox?sort=time",
    "last page": "/inbox?page=2000",
    "text in the sentence": "/inbox?q=number+99999",
    "text in the product": "/inbox?q=teapot+77",
    "text that nothing has": "/inbox?q=there-is-none",
    "SKU": "/inbox?sku=S77",
    "detector": "/inbox?detector=price_error",
    "severity": "/inbox?level=critical",
    "a day": "/inbox?since=2024-01-20T00:00&until=2024-01-21T00:00",
    "detector, severity and text": "/inbox?detector=price_error&level=high&q=number+1",
}


def make_alert(number: int) -> Alert:
    """Return the alert of the incident of this number."""
    sku = f"S{number % 5_000}"
    return Alert(
        f"{number:032x}", DETECTORS[number % 5], NOON_US + number * 60_000_000, sku, 1e-6, 0.01,
        2.0, f"5{number:06d}", f"TEAPOT {number % 997}", 900, 1.5, "orders.csv", 100 * number,
        number + 2, {"low": 1.0, "high": 31.0, "most": 95.0, "meant": 90.0, "seen": 48.0},
        f"{sku}: number {number}, 900 units on one line at 12:00; it sells 1 to 31 at a time.",
        f"{number:032x}", 1350.0, 0.7, float(number * 7919 % 2_000),
    )  # fmt: skip


def add(store: Store, first: int, count: int) -> None:
    """Store alerts, each with its incident."""
    alerts = [make_alert(number) for number in range(first, first + count)]
    store.add_alerts(
        alerts,
        [
            Incident(one.incident, one.time_us, one.time_us, 1, [one.sku], [one.detector],
                     one.stake, one.probability, one.severity, one.score, one.text)
            for one in alerts
        ],
    )  # fmt: skip


@contextmanager
def started(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, Any]]:
    """Run `oddlot ...` until the block ends; gives the link that it prints, and the process."""
    command = [sys.executable, "-m", "oddlot", *arguments]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    assert child.stdout is not None
    try:
        link = next(found[0] for line in child.stdout if (found := re.search(r"http\S+", line)))
        yield link, child
    finally:
        child.terminate()
        child.wait()


def shown_ms(page: Page, address: str) -> float:
    """Return how long it took from asking for a page to its first contents on the screen."""
    page.goto(address)
    return float(
        page.evaluate(
            "new Promise((done) => new PerformanceObserver((list) => list.getEntries().forEach("
            "(one) => one.name === 'first-contentful-paint' && done(one.startTime)))"
            ".observe({type: 'paint', buffered: true}))"
        )
    )


def say(name: str, values: list[float], unit: str = "ms") -> None:
    print(f"| {name} | {statistics.median(values):,.0f} {unit} | {max(values):,.0f} {unit} |")


def bench_pages(browser: Browser, folder: Path, incidents: int, repeat: int) -> None:
    """Fill a state, and time pages, filters and news."""
    (folder / "shop.toml").write_text("", "utf-8")
    with Store.open(folder / "state") as store:
        store.commit(b"{}", {}, [], [], {"read": incidents, "scored": incidents})
        for first in range(0, incidents, 10_000):
            add(store, first, min(10_000, incidents - first))
    serve = ("web", str(folder / "shop.toml"), "--port", "0", "--no-browser")
    with started(*serve) as (link, child):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(link)
        home = link.partition("/login")[0]
        print(f"\n{incidents:,} incidents\n\n| | median | worst |\n|---|---|---|")
        say("overview", [shown_ms(page, f"{home}/") for _ in range(repeat)])
        for name, path in FILTERS.items():
            say(f"inbox: {name}", [shown_ms(page, home + path) for _ in range(repeat)])
        page.goto(f"{home}/")
        page.locator("#feed[data-feed=live]").wait_for()
        with Store.open(folder / "state") as store:
            delays = []
            for number in range(incidents, incidents + 4 * repeat):
                began = time.perf_counter()
                add(store, number, 1)
                page.locator(f"a[href='/incident/{number:032x}']").wait_for(state="attached")
                delays.append(1000 * (time.perf_counter() - began))
        say("stored alert to open page", delays)
        cookie = {one["name"]: one["value"] for one in page.context.cookies()}
        head = "; ".join(f"{name}={value}" for name, value in cookie.items())
        page.close()
        feed = bench_feed(folder, int(home.rpartition(":")[2]), head, child.pid)
        with ThreadPoolExecutor(1) as other:  # playwright has a loop of its own in this thread
            other.submit(asyncio.run, feed).result()


async def bench_feed(folder: Path, port: int, cookie: str, process: int) -> None:
    """Open 900 pages' feeds and 50 that never read, and time the news to each."""
    request = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n"
    heard: list[float] = []
    began = [0.0]

    async def read(reader: asyncio.StreamReader) -> None:
        while data := await reader.read(65_536):
            if b"event: pulse" in data and began[0]:
                heard.append(1000 * (time.perf_counter() - began[0]))

    readers = []
    writers = []
    for number in range(950):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        writers.append(writer)
        if number < 900:
            readers.append(asyncio.create_task(read(reader)))
    await asyncio.sleep(3)
    number = 10**7
    with Store.open(folder / "state") as store:
        for turn in range(10):
            await asyncio.sleep(1)
            began[0] = time.perf_counter()
            await asyncio.to_thread(add, store, number + turn, 1)
            await asyncio.sleep(0.9)
            began[0] = 0.0
    memory = Path(f"/proc/{process}/status")
    kilobytes = re.search(r"VmRSS:\s+(\d+)", memory.read_text()) if memory.exists() else None
    heard.sort()
    print(f"| feed: 900 pages and 50 frozen, median | {heard[len(heard) // 2]:,.0f} ms | |")
    print(
        f"| feed: the same, p99 | {heard[int(0.99 * len(heard))]:,.0f} ms | {heard[-1]:,.0f} ms |"
    )
    if kilobytes:
        print(f"| feed: memory of the server | {int(kilobytes[1]) / 1000:,.0f} MB | |")
    for task in readers:
        task.cancel()
    for writer in writers:
        writer.close()


def bench_demo(browser: Browser, is_cold: bool) -> None:
    """Time the demonstration from its start to the first alert in the page."""
    caches = tempfile.mkdtemp() if is_cold else ""
    env = {**os.environ, **({"XDG_CACHE_HOME": caches} if is_cold else {})}
    env.pop("NUMBA_CACHE_DIR", None)
    began = time.perf_counter()
    with started("demo", "--no-browser", env=env) as (link, _):
        linked = time.perf_counter() - began
        page = browser.new_page()
        page.goto(link)
        opened = time.perf_counter() - began
        page.locator("[data-row]").first.wait_for(timeout=600_000)
        first = time.perf_counter() - began
        page.close()
    shutil.rmtree(caches, ignore_errors=True)
    kernels = "cold" if is_cold else "warm"
    print(f"\nThe demo, {kernels} kernels: link after {linked:.1f} s, page after {opened:.1f} s,")
    print(f"first alert in the page after {first:.1f} s.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--cold", action="store_true", help="also with no kernel compiled")
    parser.add_argument("--only", choices=["pages", "demo"])
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("bench/web.py: there must be a chromium on the path; there is none")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-background-networking"]
        )
        if options.only != "demo":
            bench_pages(browser, Path(folder), options.incidents, options.repeat)
        if options.only != "pages":
            bench_demo(browser, is_cold=False)
            if options.cold:
                bench_demo(browser, is_cold=True)
        browser.close()


if __name__ == "__main__":
    main()
