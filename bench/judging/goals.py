"""The goals of issue 3: per type and whole, as DETECTION.md section 3 gives them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TypeGoal:
    """What one type is held to: "must" is never to be fallen below, "best" is to be reached."""

    recall_must: float
    recall_best: float
    recall_at_5: float
    f1_must: float
    f1_best: float


TYPES = {
    "quantity_spike": TypeGoal(0.93, 0.98, 0.80, 0.70, 0.82),
    "unit_mixup": TypeGoal(0.90, 0.97, 0.92, 0.70, 0.83),
    "demand_surge": TypeGoal(0.90, 0.95, 0.65, 0.55, 0.70),
    "silent_sku": TypeGoal(0.96, 0.99, 0.90, 0.70, 0.84),
    "demand_drop": TypeGoal(0.88, 0.95, 0.75, 0.48, 0.65),
    "return_surge": TypeGoal(0.99, 1.00, 1.00, 0.85, 0.93),
    "write_off": TypeGoal(0.99, 1.00, 0.97, 0.90, 0.96),
    "price_error": TypeGoal(0.90, 0.97, 0.75, 0.62, 0.78),
    "duplicate_invoice": TypeGoal(0.97, 1.00, 1.00, 0.88, 0.95),
    "site_outage": TypeGoal(0.95, 1.00, 0.90, 0.82, 0.93),
}


@dataclass(frozen=True)
class Goal:
    """A goal for the whole.

    Attributes:
        text: what is measured.
        path: where a report of `scoring.judge` has it.
        least: the figure is to be at least so much, or None.
        most: the figure is to be at most so much, or None.
        places: decimals.
    """

    text: str
    path: tuple[object, ...]
    least: float | None = None
    most: float | None = None
    places: int = 2

    def is_met(self, value: float) -> bool:
        """Tell whether a figure, as it is printed, reaches the goal."""
        value = round(value, self.places)
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    @property
    def wanted(self) -> str:
        """The goal as text."""
        if self.least is None:
            return f"<= {self.most:g}"
        return f">= {self.least:g}" if self.most is None else f"{self.least:g} to {self.most:g}"


def _delay(kind: str, hours: float) -> Goal:
    return Goal(
        f"median delay of {kind}, hours",
        ("at", 20, "types", kind, "delay_h"),
        most=hours,
    )


def _promise(budget: float) -> Goal:
    return Goal(
        f"false alarms a day on clean data, budget {budget:g}",
        ("own", budget, "clean_fp_per_day"),
        least=0.8 * budget,
        most=1.2 * budget,
    )


WHOLE = (
    Goal("macro recall at 20 alerts a day", ("at", 20, "macro_recall"), least=0.975, places=3),
    Goal("macro recall at 5 alerts a day", ("at", 5, "macro_recall"), least=0.86),
    Goal("best F1", ("at", 20, "f1_best"), least=0.80),
    Goal("PR-AUC", ("at", 20, "pr_auc"), least=0.83),
    Goal("precision at a budget of 0.25 a day", ("own", 0.25, "precision"), least=0.85),
    Goal("recall at a budget of 0.25 a day", ("own", 0.25, "recall"), least=0.70),
    *(_promise(budget) for budget in (1, 5, 20)),
    Goal("excess SKU alerts in an outage", ("at", 20, "outage_flood"), most=0.0, places=1),
    *(
        _delay(kind, hours)
        for kind, hours in (
            ("quantity_spike", 0),
            ("price_error", 0),
            ("write_off", 0),
            ("duplicate_invoice", 0),
            ("demand_surge", 1.5),
            ("return_surge", 2),
            ("site_outage", 0.75),
            ("silent_sku", 36),
        )
    ),
    Goal("million lines a CPU second, CSV to alerts", ("lines_a_second",), least=1.0),
)
