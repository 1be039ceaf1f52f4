"""The report of one run, from the first batch to the file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from oddlot import catalog
from oddlot.config import Config
from oddlot.engine.embedded import Engine, Outcome
from oddlot.engine.scoring import type_of
from oddlot.errors import ConfigError, OddlotError
from oddlot.findings import Output
from oddlot.inputs import ReadAhead, open_chunks
from oddlot.report.collect import Collector, Story
from oddlot.report.page import Run, write_page
from oddlot.report.series import Kept, Series
from oddlot.report.texts import Speaker
from oddlot.schema import ROLES
from oddlot.streams.chunks import Chunk

ENDINGS = (".html", ".htm")
Feed = Callable[[Engine, str, ReadAhead, int], Iterator[Outcome]]


class Report:
    """Collects while the files are read, reads them once more, and writes the page.

    The second reading is for the charts: only when all is known is it known which SKUs they
    are of. It goes through the engine without detectors, so that the same lines come in the
    same order; it takes about as long as a run of one rule.
    """

    def __init__(self, config: Config, path: str) -> None:
        """Open the file, so that a wrong name is told at once.

        Raises:
            ConfigError: it is no HTML file, or cannot be written there.
        """
        if Path(path).suffix.lower() not in ENDINGS:
            raise ConfigError(f"--report {path}: must end in one of: {', '.join(ENDINGS)}")
        self._config = config
        self._collector = Collector([type_of(d) for d in config.detectors if not d.is_rule])
        self._kept: dict[str, Kept] = {}
        self._output = Output(path)

    def keep(self, path: str, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield a file's chunks; what can be read only once is kept beside."""
        if path != "-" and Path(path).is_file():
            yield from chunks
            return
        self._kept[path] = Kept()
        yield from self._kept[path].keep(chunks)

    def take(self, outcome: Outcome) -> None:
        """Count what became of one batch."""
        self._collector.take(outcome)

    def write(
        self,
        files: Sequence[str],
        engine: Engine,
        rows: Mapping[str, int],
        reasons: Sequence[tuple[str, int, Sequence[str]]],
        feed: Feed,
        now_us: int,
    ) -> None:
        """Read the files once more, and write the page.

        Args:
            files: as they were read.
            engine: at the end of the run.
            rows: how many lines each rule fired on.
            reasons: why lines were set aside, how many, and the first places.
            feed: takes the chunks of a file through an engine.
            now_us: the clock, as in the run.

        Raises:
            StreamError: the page cannot be written.
        """
        stories = self._collector.stories()
        language = self._config.alerts.language
        series, without = self._read_again(files, stories, feed, now_us, Speaker(language))
        detectors = self._config.detectors
        run = Run(
            files=files,
            counts=engine.counters(),
            budget=self._config.budget.false_alerts_per_day,
            parts=engine.budget.part,
            rows=rows,
            reasons=reasons,
            missing={
                name: [role for role in ROLES if role not in source.decoder.reading.columns]
                for name, source in engine.sources.items()
                if source.decoder is not None
            },
            idle=sorted({*catalog.find_types("detectors")} - {type_of(d) for d in detectors}),
            without=without,
            now_us=now_us,
        )
        page = write_page(run, self._collector, stories, series, language)
        # Half of a pair of code units can come from a file's name; it is no text.
        self._output.write(page.encode("utf-8", "replace"))
        self._output.keep()

    def close(self) -> None:
        """Let go of what was kept, and of a page that was not finished."""
        for kept in self._kept.values():
            kept.close()
        self._output.drop()

    def _read_again(
        self,
        files: Sequence[str],
        stories: Sequence[Story],
        feed: Feed,
        now_us: int,
        speaker: Speaker,
    ) -> tuple[Series | None, str]:
        """Return the lines around the incidents, or why there are none."""
        if not stories or not self._collector.days:
            return None, ""
        for path, kept in self._kept.items():
            if not kept.is_whole:
                return None, speaker.say("no_series", name=path)
        days = self._collector.days
        series = Series(stories, min(days), max(days))
        engine = Engine(msgspec.structs.replace(self._config, detectors=()))

        def take(outcome: Outcome) -> None:
            series.take(outcome.released, engine.skus, list(engine.sources))

        try:
            for path in files:
                with contextlib.closing(self._chunks(path)) as chunks:
                    for outcome in feed(engine, path, ReadAhead(chunks), now_us):
                        take(outcome)
            take(engine.finish())
        except OddlotError as error:  # it could be read before: somebody has changed or moved it
            return None, speaker.say("lost_series", why=str(error))
        return series, ""

    def _chunks(self, path: str) -> Any:
        return self._kept[path].again() if path in self._kept else _generated(open_chunks(path))


def _generated(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    yield from chunks
