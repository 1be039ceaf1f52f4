"""What is in the outbox goes out once, in order, whatever the receiver, the disk or a kill does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from crashes import alert, folder_in_memory
from notifiers.receivers import Answer, Receiver, Request, always
from oddlot import config, outbox
from oddlot.delivery import LIFE_US, POLL_S, Courier
from oddlot.notifiers.contract import SENT, Message, Notifier, Reply
from oddlot.schema import Alert
from oddlot.sections import Channel
from oddlot.store import Store

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
T0 = 1_790_000_000 * SECOND_US


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_in_memory() as place:
        yield place


class Bench:
    """A store with channels in front of receivers, on a clock of its own."""

    def __init__(self, folder: Path, channels: str) -> None:
        self.now_us = T0
        self.config = config.from_text(channels, "shop.toml", folder)
        route = outbox.router(self.config.channels, lambda: self.now_us)
        self.store = Store.open(folder / "state", route=route)
        self.couriers = [self.courier(number) for number in range(len(self.config.channels))]

    def courier(self, number: int = 0, chance: Callable[[], float] = lambda: 1.0) -> Courier:
        channel = self.config.channels[number]
        return Courier(channel, self.store.folder, "en", self.now_us, chance)

    def run(self, number: int = 0, steps: int = 10_000, until_us: int | None = None) -> int:
        """Step a courier while it has anything to do, the clock going on as it asks."""
        courier = self.couriers[number]
        for step in range(steps):
            if until_us is not None and self.now_us >= until_us:
                return step
            wait_s = courier.step(self.now_us)
            pending = self.store.channels()[number].pending
            if not pending and until_us is None:
                return step
            is_idle = until_us is not None and wait_s == POLL_S
            self.now_us += int((20 if is_idle else wait_s) * SECOND_US)
        return steps

    def states(self) -> dict[str, str]:
        return {one.alert[-3:]: one.state for one in self.store.deliveries()}

    def close(self) -> None:
        for courier in self.couriers:
            courier.close()
        self.store.close()


def webhook(receiver: Receiver, **options: Any) -> str:
    lines = [f"{name} = {value!r}".replace("'", '"') for name, value in options.items()]
    return "\n".join(
        [
            *("[[channels]]", 'type = "webhook"', f'url = "{receiver.url}"'),
            *('allow = ["127.0.0.0/8"]', *lines, ""),
        ]
    )


def ids(receiver: Receiver) -> list[str]:
    return [request.json["data"]["id"][-3:] for request in receiver.got]


def numbered(*numbers: int) -> list[str]:
    return [f"{number:03x}" for number in numbers]


def test_alerts_go_out_once_and_in_order(folder: Path) -> None:
    with Receiver() as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(number) for number in range(1, 30)])
        bench.run()
        assert ids(receiver) == numbered(*range(1, 30))
        assert set(bench.states().values()) == {"sent"}
        assert len({request.headers["webhook-id"] for request in receiver.got}) == 29
        (state,) = bench.store.channels()
        assert (state.pending, state.sent, state.dead, state.error) == (0, 29, 0, "")
        bench.close()


def test_a_receiver_that_was_away_an_hour_gets_everything_in_order_and_each_once(
    folder: Path,
) -> None:
    away_until = T0 + HOUR_US
    bench: Bench

    def answer(number: int, request: Request) -> Answer:
        return (503 if bench.now_us < away_until else 200), {}

    with Receiver(answer) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(number) for number in range(1, 500)])
        bench.run()
        tries = sum(one.json["timestamp"] < "2026" for one in receiver.got)
        failed = len(receiver.got) - 499
        assert tries == 0
        assert 10 <= failed <= 25  # not one try for each alert
        assert ids(receiver)[failed:] == numbered(*range(1, 500))
        assert T0 + HOUR_US <= bench.now_us < T0 + HOUR_US + 301 * SECOND_US
        bench.close()


def test_an_alert_that_is_never_taken_blocks_no_other_and_dies_after_a_day(folder: Path) -> None:
    def answer(number: int, request: Request) -> Answer:
        return (500 if request.json["data"]["id"].endswith("001") else 200), {}

    with Receiver(answer) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(number) for number in range(1, 20)])
        bench.run(until_us=T0 + HOUR_US)
        states = bench.states()
        assert states.pop("001") == "pending"
        assert set(states.values()) == {"sent"}
        assert [one for one in ids(receiver) if one != "001"] == numbered(*range(2, 20))
        bench.store.add_alerts([alert(90)])
        bench.run(until_us=T0 + LIFE_US + HOUR_US)
        assert bench.states()["001"] == "dead"
        assert bench.states()["05a"] == "sent"
        (dead,) = bench.store.deliveries(state="dead")
        assert dead.error == "not sent within 24 h: 127.0.0.1: answered 500"
        assert "given up" in bench.couriers[0].problem
        # Once it is known to be at fault, it is tried every five minutes at most.
        assert ids(receiver).count("001") < 24 * 12 + 30
        bench.close()


def test_what_comes_within_a_while_is_one_message_and_the_next_not_too_soon(folder: Path) -> None:
    with Receiver() as receiver:
        (folder / "url").write_text(receiver.url)
        allow = 'allow = ["127.0.0.0/8"]'
        bench = Bench(folder, f'[[channels]]\ntype = "slack"\nurl = "file:url"\n{allow}')
        told: list[tuple[int, int]] = []
        comes = {0: 3, 20: 2, 40: 1, 290: 4, 2000: 1}  # seconds: alerts
        number = 0
        for second in range(2100):
            bench.now_us = T0 + second * SECOND_US
            alerts = [alert(number + one) for one in range(comes.get(second, 0))]
            bench.store.add_alerts(alerts)
            number += len(alerts)
            while not bench.couriers[0].step(bench.now_us):
                pass
            if len(receiver.got) > len(told):
                told.append((second, len(receiver.got[-1].json["blocks"])))
        assert told == [(30, 5), (330, 5), (2030, 1)]
        bench.close()


def test_a_storm_is_told_to_people_in_few_messages(folder: Path) -> None:
    with Receiver() as receiver:
        (folder / "url").write_text(receiver.url)
        allow = 'allow = ["127.0.0.0/8"]'
        bench = Bench(folder, f'[[channels]]\ntype = "slack"\nurl = "file:url"\n{allow}')
        bench.store.add_alerts([alert(number) for number in range(25_000)])
        bench.run()
        assert [len(one.json["blocks"]) for one in receiver.got] == [11, 11, 11]
        assert receiver.got[0].json["blocks"][10]["text"]["text"] == "and 9990 more, of less worth"
        assert bench.store.channels()[0].sent == 25_000
        bench.close()


class Trap(Notifier, frozen=True):
    """A way out with a bug, that shows when an alert of a certain SKU is among the others."""

    is_itemwise: ClassVar[bool] = True
    largest: ClassVar[int] = 10

    def open(self) -> Trapped:
        return Trapped()


class Trapped:
    def __init__(self) -> None:
        self.got: list[str] = []

    def send(self, message: Message) -> list[Reply]:
        skus = {"trap": "canary-secret"}
        for one in message.alerts:
            if one.sku in skus:
                raise KeyError(skus[one.sku])
        self.got += [one.id[-3:] for one in message.alerts]
        return [SENT] * len(message.alerts)

    def close(self) -> None:
        pass


def test_a_bug_met_by_one_alert_keeps_neither_the_others_nor_a_secret(folder: Path) -> None:
    channel = Channel("trap", "trap", notifier=Trap())
    with Store.open(folder, route=outbox.router([channel], lambda: T0)) as store:
        alerts = [alert(number, sku="trap" if number == 4 else "S") for number in range(1, 40)]
        store.add_alerts(alerts)
        courier = Courier(channel, folder, "en", T0, lambda: 1.0)
        now_us = T0
        while store.channels()[0].pending > 1:
            now_us += int(courier.step(now_us) * SECOND_US)
        assert now_us < T0 + 600 * SECOND_US
        (left,) = store.deliveries(state="pending")
        assert left.alert == alert(4).id
        assert left.error.startswith("a bug: KeyError in test_delivery.py, line ")
        assert sorted(courier._sender.got) == numbered(1, 2, 3, *range(5, 40))  # type: ignore[attr-defined]
        courier.close()


def test_what_a_receiver_refuses_is_given_up_at_once_and_the_next_goes_on(folder: Path) -> None:
    def answer(number: int, request: Request) -> Answer:
        return (422 if request.json["data"]["id"].endswith("002") else 200), {}

    with Receiver(answer) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1), alert(2), alert(3)])
        bench.run()
        assert ids(receiver) == numbered(1, 2, 3)
        assert bench.states() == {"001": "sent", "002": "dead", "003": "sent"}
        bench.close()


@pytest.mark.parametrize("header", ["90", "Mon, 21 Sep 2026 14:14:50 GMT"])
def test_retry_after_is_waited_for(folder: Path, header: str) -> None:
    def answer(number: int, request: Request) -> Answer:
        return (429, {"retry-after": header}) if number == 1 else (200, {})

    with Receiver(answer) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1)])
        bench.run()
        assert bench.now_us == T0 + 90 * SECOND_US
        assert len(receiver.got) == 2
        bench.close()


def test_gone_turns_a_channel_off_until_the_next_start(folder: Path) -> None:
    with Receiver(always(410)) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1), alert(2)])
        bench.run()
        bench.store.add_alerts([alert(3)])
        bench.run()
        assert len(receiver.got) == 1
        assert set(bench.states().values()) == {"dead"}
        (state,) = bench.store.channels()
        assert state.is_off
        assert "gone" in bench.couriers[0].problem
        receiver.answer = always(200)
        bench.couriers[0].close()
        bench.couriers[0] = bench.courier()
        bench.store.add_alerts([alert(4)])
        bench.run()
        assert bench.states()["004"] == "sent"
        assert not bench.store.channels()[0].is_off
        bench.close()


def test_channels_do_not_wait_for_each_other(folder: Path) -> None:
    with Receiver(always(500)) as bad, Receiver() as good:
        bench = Bench(folder, webhook(bad, name="bad") + webhook(good, name="good"))
        bench.store.add_alerts([alert(number) for number in range(1, 50)])
        bench.run(0, steps=20)
        bench.run(1)
        assert ids(good) == numbered(*range(1, 50))
        assert [state.pending for state in bench.store.channels()] == [49, 0]
        bench.close()


def test_a_channel_takes_what_its_severity_detectors_and_skus_say(folder: Path) -> None:
    with Receiver() as receiver:
        text = webhook(receiver, severity=10, detectors=["price_error"], skus=["A?", "B*"])
        bench = Bench(folder, text)
        fits = {"severity": 10.0, "detector": "price_error", "sku": "A1"}
        bench.store.add_alerts(
            [
                alert(1, **fits),
                alert(2, **{**fits, "sku": "BCD"}),
                alert(3, **{**fits, "severity": 9.99}),
                alert(4, **{**fits, "detector": "new_sku"}),
                alert(5, **{**fits, "sku": "A12"}),
            ]
        )
        bench.run()
        assert ids(receiver) == numbered(1, 2)
        bench.close()


def test_waits_grow_to_five_minutes_and_are_drawn_from_nothing_to_all(folder: Path) -> None:
    with Receiver(always(500)) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1)])
        waits = []
        for _ in range(12):
            waits.append(bench.couriers[0].step(bench.now_us))
            bench.now_us += int(waits[-1] * SECOND_US)
        assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
        bench.couriers[0].close()
        bench.couriers[0] = bench.courier(chance=lambda: 0.25)
        assert bench.couriers[0].step(bench.now_us) == 0.5
        bench.close()


def test_too_many_that_wait_cost_the_oldest(folder: Path) -> None:
    with Receiver() as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(number) for number in range(1, 11)])
        box = outbox.Outbox(bench.store.folder, "webhook")
        assert box.bound(bench.now_us, most=10) == 0
        assert box.bound(bench.now_us, most=6) == 4
        box.close()
        bench.run()
        assert ids(receiver) == numbered(5, 6, 7, 8, 9, 10)
        assert bench.store.channels()[0].dead == 4
        bench.close()


def test_what_waits_for_a_channel_that_the_config_lost_is_given_up(folder: Path) -> None:
    with Receiver() as receiver:
        bench = Bench(folder, webhook(receiver, name="old"))
        bench.store.add_alerts([alert(1)])
        outbox.forget_others(bench.store.folder, [], lambda: T0)
        (dead,) = bench.store.deliveries()
        assert (dead.state, dead.error) == ("dead", outbox.LEFT)
        bench.close()


def test_an_alert_and_its_way_out_are_stored_together_or_not_at_all(folder: Path) -> None:
    def crash(point: str) -> None:
        if point == "sql.commit" and not calm:
            raise KeyboardInterrupt

    def route(one: Alert) -> list[tuple[str, int]]:
        return [("hook", T0)]

    calm = [True]
    with Store.open(folder, crash=crash, route=route) as store:
        calm.clear()
        with pytest.raises(KeyboardInterrupt):
            store.add_alerts([alert(1)])
        assert (list(store.alerts()), store.deliveries()) == ([], [])
        calm.append(True)
        store.add_alerts([alert(1)])
        assert len(list(store.alerts())) == len(store.deliveries()) == 1


def test_what_went_out_is_not_sent_again_because_it_could_not_be_marked(folder: Path) -> None:
    bench: Bench

    def answer(number: int, request: Request) -> Answer:
        bench.store._sql.execute("BEGIN IMMEDIATE")  # as if the engine wrote for very long
        return 200, {}

    with Receiver(answer) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1)])
        courier = bench.couriers[0]
        courier._outbox._sql.execute("PRAGMA busy_timeout = 0")
        for _ in range(3):
            assert courier.step(bench.now_us) == 1.0
            assert "must be used by one process at a time" in courier.problem
        bench.store._sql.execute("ROLLBACK")
        bench.run()
        assert len(receiver.got) == 1
        assert bench.states() == {"001": "sent"}
        assert courier.problem == ""
        bench.close()


def test_a_store_that_another_took_over_stops_the_sending(folder: Path) -> None:
    with Receiver() as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1), alert(2)])
        bench.store.close()
        with Store.open(folder / "state"), pytest.raises(outbox.Overtaken):
            bench.couriers[0].step(bench.now_us)
        bench.close()


def test_no_secret_is_in_what_is_stored_or_shown(folder: Path) -> None:
    with Receiver(always(500)) as receiver:
        bench = Bench(folder, webhook(receiver))
        bench.store.add_alerts([alert(1)])
        bench.run(steps=3)
        shown = repr((bench.store.deliveries(), bench.store.channels(), bench.couriers[0].problem))
        assert "127.0.0.1: answered 500" in shown
        assert "canary" not in shown
        bench.close()
