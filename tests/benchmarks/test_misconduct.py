"""What the benchmark of misconduct counts as caught, as false, and as taken for something else."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks import misconduct, misconduct_days
from benchmarks.misconduct import MISCONDUCT, always, at_budget, at_random, tally, typologies_of, within_budget
from benchmarks.misconduct_days import CASES, Case, Played, first, paid, said_in
from engines.backtest.results import Opened
from engines.labels import Label
from engines.simulator import money
from monitor.converters.messages import record_message
from monitor.recordings import Message
from schemas.records import News

S = 10**9
MINUTE = 60 * S
FROM, TO = 0, 390 * MINUTE


def label(typology: str, begin: int, instrument: str, *accounts: str, benign: bool = False) -> Label:
    """An event of five minutes whose harm begins with its second."""
    return Label(
        event_id=f"{typology} {begin} {instrument}",
        typology=typology,
        start_ns=begin,
        onset_ns=begin + MINUTE,
        end_ns=begin + 5 * MINUTE,
        instruments=[instrument],
        accounts=list(accounts),
        benign=benign,
    )


def alarm(typology: str, at: int, instrument: str, account: str = "") -> Opened:
    return Opened(
        episode_id=f"{typology} {at} {instrument} {account}",
        alert_id="",
        typology=typology,
        instrument=instrument,
        opened_ns=at,
        available_ns=at,
        severity="warning",
        score=0.9,
        account=account,
    )


SPOOF = label("spoofing", 60 * MINUTE, "A.X", "bad")
MAKER = label("aggressive_maker", 120 * MINUTE, "B.X", "maker", benign=True)


def day(*alarms: Opened, labels: tuple[Label, ...] = (SPOOF, MAKER)) -> Played:
    return Played(
        labels=list(labels), alarms=list(alarms), critical=[], instruments=["A.X", "B.X"], from_ns=FROM, to_ns=TO
    )


def counted(*alarms: Opened) -> misconduct.Tally:
    return tally([day(*alarms)], lambda played: played.alarms)


@pytest.mark.parametrize(
    ("typology", "at", "instrument", "account", "caught"),
    [
        ("spoofing", SPOOF.start_ns - MINUTE, "A.X", "bad", True),
        ("spoofing", SPOOF.end_ns + 10 * MINUTE, "A.X", "bad", True),
        ("spoofing", SPOOF.onset_ns, "A.X", "", True),
        ("spoofing", SPOOF.start_ns - MINUTE - 1, "A.X", "bad", False),
        ("spoofing", SPOOF.end_ns + 10 * MINUTE + 1, "A.X", "bad", False),
        ("spoofing", SPOOF.onset_ns, "B.X", "bad", False),
        ("spoofing", SPOOF.onset_ns, "A.X", "good", False),
        ("layering", SPOOF.onset_ns, "A.X", "bad", False),
    ],
)
def test_an_event_is_caught_by_typology_instrument_account_and_time(
    typology: str, at: int, instrument: str, account: str, caught: bool
) -> None:
    found = counted(alarm(typology, at, instrument, account))
    assert found.recall("spoofing") == caught
    assert sum(found.false.values()) == (not caught)


def test_delay_runs_from_the_onset_to_the_first_alarm_of_its_own_typology() -> None:
    first = alarm("layering", SPOOF.onset_ns + S, "A.X", "bad")
    own = [alarm("spoofing", SPOOF.onset_ns + at * S, "A.X", "bad") for at in (30, 90)]
    assert counted(first, *own).caught("spoofing") == [30.0]


def test_false_alarms_are_told_apart_and_all_count() -> None:
    found = counted(
        alarm("layering", SPOOF.onset_ns, "A.X", "bad"),
        alarm("spoofing", SPOOF.onset_ns, "A.X", "good"),
        alarm("spoofing", MAKER.onset_ns, "B.X", "maker"),
        alarm("market_anomaly", 300 * MINUTE, "B.X"),
    )
    assert found.false == {
        ("layering", "another"): 1,
        ("spoofing", "nobody's"): 1,
        ("spoofing", "look-alike"): 1,
        ("market_anomaly", "nobody's"): 1,
    }
    assert found.subject_days == 2


def test_an_event_stands_once_beside_each_typology_that_rang_on_it() -> None:
    twice = [alarm("layering", SPOOF.onset_ns + at * S, "A.X", "bad") for at in (1, 2)]
    found = counted(*twice, alarm("spoofing", SPOOF.end_ns, "A.X", "bad"), alarm("spoofing", MAKER.onset_ns, "B.X"))
    assert found.rang == {
        ("spoofing", "layering"): 1,
        ("spoofing", "spoofing"): 1,
        ("aggressive_maker", "spoofing"): 1,
    }
    assert found.events == {"spoofing": 1, "aggressive_maker": 1}


def test_ringing_always_catches_all_at_the_price_of_ringing() -> None:
    found = tally([day()], always)
    assert found.recall("spoofing") == 1.0
    # Every ten minutes and at the end, at 2 instruments; of spoofing at A.X minutes 60 and 70 are the event's.
    assert sum(found.false.values()) == 40 * 2 * len(MISCONDUCT) - 2


def test_what_is_within_the_budget_is_chosen_on_the_other_days() -> None:
    def noise(typology: str, *scores: float) -> list[Opened]:
        strays = [alarm(typology, at * MINUTE, "B.X", "good") for at in range(len(scores))]
        return [msgspec.structs.replace(one, score=score) for one, score in zip(strays, scores, strict=True)]

    spoof = alarm("spoofing", SPOOF.onset_ns, "A.X", "bad")  # 0.9
    # Two instruments, so two false alarms a day: one of layering and one of spoofing are left.
    first = day(*noise("layering", 0.6, 0.7, 0.8), *noise("spoofing", 0.95), spoof)
    second = day(*noise("spoofing", 0.92, 0.93, 0.94), spoof)
    assert within_budget([first]) == {"layering": pytest.approx(0.7)}
    assert within_budget([first])["layering"] > 0.7
    assert within_budget([second]) == {"spoofing": pytest.approx(0.92)}
    case = Case("agents", "full")
    found = at_budget({case: [first, second]})[case]
    # By the second day's scores the first's spoofing is too little; by the first's all of the second rings.
    assert found.delays_s["spoofing"] == [None, 0.0]
    assert found.false == {("layering", "nobody's"): 3, ("spoofing", "nobody's"): 4}
    assert at_budget({case: [second]})[case].false == {("spoofing", "nobody's"): 3}


def test_the_random_detector_rings_as_often_within_the_day() -> None:
    rung = [alarm("spoofing", minute * MINUTE, "A.X", "bad") for minute in range(50)]
    drawn = at_random(day(*rung))
    assert len(drawn) == 50
    assert {one.instrument for one in drawn} == {"A.X", "B.X"}
    assert all(FROM <= one.available_ns < TO and not one.account for one in drawn)
    assert drawn == at_random(day(*rung))


def test_the_posts_of_a_pump_are_neither_right_nor_false() -> None:
    pump = label("pump_and_dump", 60 * MINUTE, "A.X", "bad")
    posts = [alarm("pump_coordination", 62 * MINUTE, where) for where in ("A.X", "market", "B.X")]
    found = tally([day(*posts, labels=(pump,))], lambda played: played.alarms)
    assert found.recall("pump_and_dump") == 0.0
    assert found.false == {("pump_coordination", "nobody's"): 1}


def test_words_ring_an_episode_an_instrument_and_turn_critical_later() -> None:
    begin = 1_741_000_000 * S

    def post(minute: int, headline: str, instrument: str = "A.X") -> Message:
        at_ns = begin + minute * MINUTE
        return record_message(
            "news",
            News(
                ts_event=at_ns, ts_available=at_ns + S, instrument=instrument, channel="post",
                document_id=f"{minute}", headline=headline,
            ),
        )  # fmt: skip

    said = list(
        said_in(
            [
                post(1, "quiet tape today"),
                post(2, "join our pump group"),
                post(3, "next signal in 5 minutes, everyone in, do not sell, our pump group"),
                post(4, "join our pump group", "B.X"),
            ]
        )
    )
    assert [(one.instrument, one.opened_ns, one.severity) for one in said] == [
        ("A.X", begin + 2 * MINUTE, "warning"),
        ("A.X", begin + 2 * MINUTE, "critical"),
        ("B.X", begin + 4 * MINUTE, "warning"),
    ]
    assert [one.available_ns for one in first(said)] == [begin + minute * MINUTE + S for minute in (2, 4)]


def test_accounts_are_judged_for_a_day_and_counted_by_account_days(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.money.WARM_UP_DAYS", 3)
    monkeypatch.setattr(misconduct_days, "MONEY_DAYS", 2)
    played = paid(Case("payments", "full"), 7)
    found = tally([played], lambda day: day.alarms)
    assert found.subject_days == 2 * played.accounts > 2 * 400
    assert {name: found.events[name] for name in typologies_of("payments")} == dict.fromkeys(money.PLAN, 2)
    assert 0 <= min(found.caught("structuring")) <= max(found.caught("structuring")) < 2 * 24 * 3_600


def test_the_least_recall_is_that_of_any_typology_on_any_model(capsys: pytest.CaptureFixture[str]) -> None:
    def whole(case: Case, skipped: int = 0) -> Played:
        names = typologies_of(case.model)
        labels = tuple(label(name, 60 * MINUTE, "A.X", name) for name in names)
        return day(*[alarm(name, 61 * MINUTE, "A.X", name) for name in names][skipped:], labels=labels)

    days = {case: [whole(case)] for case in CASES if case.level in ("full", "half")}
    figures = misconduct.report(days)
    assert {name: figures[name] for name in figures if "worst" not in name} == {
        f"{prefix}{name}": value
        for prefix in ("shipped_", "")
        for name, value in [
            ("false_an_instrument_day", 0.0),
            ("false_a_thousand_account_days", 0.0),
            ("min_recall_full", 1.0),
            ("min_recall_half", 1.0),
        ]
    }
    for case in (Case("queues", "half"), Case("payments", "full")):
        days[case] = [whole(case, skipped=1)]
    figures = misconduct.closing({case: tally(some, lambda day: day.alarms) for case, some in days.items()})
    assert (figures["min_recall_half"], figures["worst_half"]) == (0.0, f"queues {MISCONDUCT[0]}")
    assert (figures["min_recall_full"], figures["worst_full"]) == (0.0, "payments structuring")
    assert "1/1 [0.03, 1.00]" in capsys.readouterr().out
