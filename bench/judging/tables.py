"""The tables of the accuracy page, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from judging import goals
from judging.scoring import PROMISES, Spread, spread

Reports = list[dict[str, Any]]
ODDLOT = "oddlot"


def make_tables(reports: Mapping[str, Reports]) -> dict[str, str]:
    """Make every table by its name.

    Args:
        reports: by detector, one report of `scoring.judge` for each seed.
    """
    tables = {"peers": _compare(reports)}
    if ODDLOT in reports:
        tables["goals"] = _hold_to_goals(reports[ODDLOT])
        tables["types"] = _by_type(reports[ODDLOT])
        tables["levels"] = _by_level(reports[ODDLOT])
    tables["promise"] = _promise(reports)
    tables["beside"] = _beside(reports)
    return {name: table for name, table in tables.items() if table}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _hold_to_goals(reports: Reports) -> str:
    rows = []
    for goal in goals.WHOLE:
        value = spread(reports, *goal.path)
        if value is None:
            rows.append([goal.text, goal.wanted, "-", "-", "no: not found"])
            continue
        if goal.path == ("lines_a_second",):
            value = Spread(value.mean / 1e6, value.low / 1e6, value.high / 1e6)
        rows.append(
            [
                goal.text,
                goal.wanted,
                f"{value.mean:.{goal.places}f}",
                f"{value.low:.{goal.places}f} to {value.high:.{goal.places}f}",
                "yes" if goal.is_met(value.mean) else "**no**",
            ]
        )
    return _table(["goal", "wanted", "mean", "range over seeds", "reached"], rows)


def _by_type(reports: Reports) -> str:
    rows = []
    for kind, goal in goals.TYPES.items():
        at_20 = _value(reports, "at", 20, "types", kind, "recall")
        at_5 = _value(reports, "at", 5, "types", kind, "recall")
        f1 = _value(reports, "at", 20, "types", kind, "f1_best")
        rows.append(
            [
                kind,
                _held(at_20, goal.recall_best, goal.recall_must),
                f"{goal.recall_best:.2f}",
                _held(at_5, goal.recall_at_5),
                f"{goal.recall_at_5:.2f}",
                _number(_value(reports, "at", 1, "types", kind, "recall")),
                _held(f1, goal.f1_best, goal.f1_must),
                f"{goal.f1_best:.2f}",
                _number(_value(reports, "at", 20, "types", kind, "pr_auc")),
                _hours(_value(reports, "at", 20, "types", kind, "delay_h")),
            ]
        )
    head = ["type", "recall @20", "goal", "@5", "goal", "@1", "best F1", "goal", "PR-AUC"]
    return _table([*head, "delay, h"], rows)


def _by_level(reports: Reports) -> str:
    rows = []
    for kind in goals.TYPES:
        row = [kind]
        for budget in (20, 5):
            row += [
                _number(_value(reports, "at", budget, "types", kind, level))
                for level in ("easy", "medium", "hard")
            ]
        low_high = spread(reports, "at", 20, "types", kind, "recall")
        row.append(f"{low_high.low:.2f} to {low_high.high:.2f}" if low_high else "-")
        rows.append(row)
    levels = ["easy", "medium", "hard"]
    head = [f"{level} @20" for level in levels] + [f"{level} @5" for level in levels]
    return _table(["type", *head, "range of recall @20"], rows)


def _promise(reports: Mapping[str, Reports]) -> str:
    rows = []
    for name, of in reports.items():
        for budget in PROMISES:
            value = spread(of, "own", budget, "clean_fp_per_day")
            if value is None:
                continue
            rows.append(
                [
                    name,
                    f"{budget:g}",
                    _number(value),
                    f"{value.low:.2f} to {value.high:.2f}",
                    _number(_value(of, "own", budget, "clean_alerts_per_day")),
                    _number(_value(of, "own", budget, "fp_per_day")),
                    _number(_value(of, "own", budget, "precision")),
                    _number(_value(of, "own", budget, "recall")),
                    _number(_value(of, "own", budget, "f1")),
                ]
            )
    head = ["detector", "budget", "false alarms a day, clean", "range"]
    head += ["all alerts a day, clean", "false alarms a day, with faults"]
    return _table([*head, "precision", "recall", "F1"], rows) if rows else ""


def _compare(reports: Mapping[str, Reports]) -> str:
    rows = []
    for name, of in reports.items():
        rows.append(
            [
                f"**{name}**" if name == ODDLOT else name,
                *(_number(_value(of, "at", budget, "macro_recall")) for budget in (20, 5, 1)),
                _number(_value(of, "at", 20, "f1_best")),
                _number(_value(of, "at", 20, "pr_auc"), 3),
                _number(_value(of, "at", 20, "clean_fp_per_day"), 1),
                _number(_value(of, "at", 20, "neutral_per_day"), 1),
                _number(_value(of, "at", 20, "outage_flood"), 1),
                _thousands(_value(of, "lines_a_second")),
            ]
        )
    head = ["detector", "macro recall @20", "@5", "@1", "best F1", "PR-AUC"]
    head += ["false alarms a day, clean", "neutral a day", "excess SKU alerts an outage"]
    return _table([*head, "lines a CPU second"], rows)


def _beside(reports: Mapping[str, Reports]) -> str:
    """Set Oddlot beside the ensemble and, type by type, the best of the other peers."""
    single = [name for name in reports if name not in (ODDLOT, "ensemble")]
    if not single or ODDLOT not in reports:
        return ""
    rows = []
    for kind in goals.TYPES:
        row = [kind, _pair(reports[ODDLOT], kind)]
        row.append(_pair(reports["ensemble"], kind) if "ensemble" in reports else "-")
        for figure in ("recall", "f1_best"):
            name = max(single, key=lambda one: _plain(reports[one], kind, figure))
            best = _plain(reports[name], kind, figure)
            row.append(f"{best:.2f} {name}" if best > 0 else "-")
        rows.append(row)
    head = ["type", "oddlot", "ensemble", "best recall of one peer", "best F1 of one peer"]
    return _table(head, rows)


def _pair(reports: Reports, kind: str) -> str:
    return f"{_plain(reports, kind, 'recall'):.2f} / {_plain(reports, kind, 'f1_best'):.2f}"


def _plain(reports: Reports, kind: str, figure: str) -> float:
    value = _value(reports, "at", 20, "types", kind, figure)
    return value.mean if value else 0.0


def _value(reports: Reports, *path: Any) -> Spread | None:
    return spread(reports, *path)


def _number(value: Spread | None, places: int = 2) -> str:
    return f"{value.mean:.{places}f}" if value else "-"


def _hours(value: Spread | None) -> str:
    return "-" if value is None else f"{value.mean:.1f}" if value.mean >= 0.05 else "0"


def _thousands(value: Spread | None) -> str:
    return f"{round(value.mean, -3):,.0f}" if value else "-"


def _held(value: Spread | None, best: float, must: float = 0.0) -> str:
    """Mark a figure: bold reaches the goal, a dagger is below what must be."""
    if value is None:
        return "-"
    text = f"{value.mean:.2f}"
    if round(value.mean, 2) >= best:
        return f"**{text}**"
    return f"{text} †" if round(value.mean, 2) < must else text
