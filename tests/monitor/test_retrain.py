"""`tocsin retrain`: what was learnt from recordings lies in the registry, all else as in the model that it is of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import msgspec
import polars as pl
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from typer.testing import CliRunner

from agents.flow import Item
from agents.instrument_state import InstrumentState
from engines.backtest.gate import Policy, checks
from engines.backtest.shadow import shadowed
from engines.bundle import DEFAULT, Bundle
from engines.dispositions import labels as labels_of
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.lineage import begin_ns, knows
from engines.opinion import SPEC as SPEC_OF_OPINION
from engines.opinion import Opinion
from engines.opinion import of as opinion_of
from engines.order_flow import MODEL, SPEC
from engines.progressive import learn
from engines.simulator.day import Config
from engines.training.card import RECORDED
from engines.training.retrain import RetrainError, days_of, parted
from engines.training.tasks.order_flow import items_within, read
from monitor.champion import Champion
from monitor.cli import app
from monitor.control import Promoted
from monitor.registry import Registry
from monitor.settings import Settings
from monitor.simulation import companies_of, write
from monitor.stage import Stages, load_stages
from monitor.state import StateTable
from schemas.alerts import Alert
from tests.agents.streams import arrivals, pump
from tests.engines.test_opinion import desk
from tests.monitor.test_champion import promotion

pytestmark = pytest.mark.slow
replace = msgspec.structs.replace
COMPANIES = companies_of(SymbolMaster.load(DEFAULT_SYMBOLS), 2)
PLAYED = ("spoofing", "quote_stuffing", "layering")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("days")
    paths = [folder / f"day-{number}" for number in range(4)]
    for number, path in enumerate(paths):
        config = Config(
            model="agents",
            seed=50 + number,
            start=date(2025, 3, 3 + number),
            hours=0.5,
            ticks_a_second=1.5,
            calls=0,
            typologies=PLAYED,
        )
        write(path, config, COMPANIES)
    return paths


def called(*arguments: str, registry: Path) -> tuple[int, str]:
    where = {"TOCSIN_REGISTRY": str(registry), "TOCSIN_CACHE": str(registry.parent / "cache"), "COLUMNS": "200"}
    result = CliRunner(env=where).invoke(app, [*arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_what_was_learnt_from_recordings_challenges_the_model_that_it_is_of(
    recorded: list[Path], tmp_path: Path
) -> None:
    place = tmp_path / "models"
    assert called("models", "add", str(DEFAULT), "--name", "base", registry=place)[0] == 0
    retrain = ("retrain", "order_flow", *map(str, recorded), "--base", "base", "--name", "again")
    code, told = called(*retrain, "--author", "me", "--reason", "it drifted", registry=place)
    assert code == 0, told
    assert all(f"recorded spoofing {who}: average_precision" in told for who in ("tocsin", "champion", "rules"))
    assert "again is" in told
    _, model = Registry(place).models()
    assert (model.name, model.author, model.reason) == ("again", "me", "it drifted")
    assert model.origin == "tocsin retrain order_flow, of base, on 2025-03-03 to 2025-03-06"
    before, after = Bundle.load(DEFAULT), Bundle.load(Registry(place).fetch("again", tmp_path / "cache").bundle)
    changed = {MODEL, SPEC, "MODEL_CARD.md"}
    assert after.read(MODEL) != before.read(MODEL)
    kept = {name: entry for name, entry in before.manifest.files.items() if name not in changed}
    assert {name: after.manifest.files[name] for name in kept} == kept
    assert "| order_flow | recordings of orders, of the days below |" in after.read("MODEL_CARD.md").decode()
    names = [source.name for source in after.manifest.lineage]
    assert (RECORDED in names, "simulated order books" in names) == (True, False)
    # A replay of these days is refused with it, as with any bundle that was trained on them.
    told_of = knows(after.manifest.lineage, begin_ns(date(2025, 3, 3)), begin_ns(date(2025, 3, 4))).overlaps
    assert any(sentence.startswith(f"training on {RECORDED}") for sentence in told_of)


def test_a_name_that_cannot_be_is_told_before_anything_is_learnt(tmp_path: Path) -> None:
    retrain = ("retrain", "order_flow", str(tmp_path / "none"), "--author", "me")
    code, told = called(*retrain, "--name", "my model", registry=tmp_path / "models")
    assert (code, "'my model' is no name" in told) == (2, True), told


def test_days_are_told_apart_and_the_latest_are_tested(recorded: list[Path]) -> None:
    days = days_of(recorded, date(2025, 3, 7))
    assert [one.path for one in days] == recorded
    assert {name: [one.path.name for one in part] for name, part in parted(days).items()} == {
        "train": ["day-0", "day-1"],
        "validate": ["day-2"],
        "test": ["day-3"],
    }
    # Two recordings of one day are no two days, and never on both sides of a cut.
    with pytest.raises(RetrainError, match="1 days of orders before 2025-03-04"):
        days_of([recorded[0]] * 4, date(2025, 3, 4))
    twice = parted([one for one in days for _ in range(2)])
    assert [len({one.day for one in part}) for part in twice.values()] == [2, 1, 1]
    with pytest.raises(RetrainError, match="0 days of orders before 2025-03-03: expected 4 or more"):
        days_of(recorded, date(2025, 3, 3))
    with pytest.raises(RetrainError, match="holds no orders"):
        days_of([recorded[0].parent], date.max)


def test_a_stretch_of_a_recording_is_what_could_be_known_in_it(recorded: list[Path]) -> None:
    whole = read(recorded[0]).items
    key, items = next(iter(whole.items()))
    middle_ns = int(items[len(items) // 2].ts_available[0])
    halves = [items_within(recorded[0], *bounds) for bounds in ((0, middle_ns), (middle_ns, 2**63 - 1))]
    assert sum(len(half[key]) for half in halves) == len(items)


def test_what_nothing_can_be_learnt_from_is_one_sentence(recorded: list[Path], tmp_path: Path) -> None:
    place, names = tmp_path / "models", [str(path) for path in recorded]
    assert called("models", "add", str(DEFAULT), "--name", "base", registry=place)[0] == 0
    none = pl.read_parquet(recorded[0] / "labels.parquet").clear()
    none.write_parquet(tmp_path / "none.parquet")
    of = ("retrain", "order_flow", "--base", "base")
    for arguments, told in (
        ((*names[:3],), "order_flow cannot learn: 3 days of orders before 9999-12-31: expected 4 or more"),
        ((*names, "--labels", str(tmp_path / "none.parquet")), "nothing that is labelled happened in orders from"),
        ((*names, "--until", "soon"), "--until: expected a date such as 2026-06-01, found 'soon'."),
        ((str(tmp_path),), f"{tmp_path} brings no labels: name a file of them by --labels."),
    ):
        code, error = called(*of, *arguments, registry=place)
        assert (code, told in error) == (2, True), error
    assert [model.name for model in Registry(place).models()] == ["base"]


def test_what_analysts_found_becomes_an_opinion_that_challenges(tmp_path: Path) -> None:
    place, (alerts, found) = tmp_path / "models", desk(80)
    (tmp_path / "alerts.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, alerts)))
    (tmp_path / "found.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, found)))
    assert called("models", "add", str(DEFAULT), "--name", "base", registry=place)[0] == 0
    taught = ("--from", str(tmp_path / "alerts.jsonl"), "--file", str(tmp_path / "found.jsonl"), "--author", "me")
    retrain = ("retrain", "opinion", "--base", "base", *taught)
    code, told = called(*retrain, "--name", "minded", registry=place)
    assert code == 0, told
    assert all(name in told for name in ("kappa-temporal", "opinion", "logistic", "forest", "no change", "rate"))
    assert "Weights by the losses of late: logistic" in told
    _, model = Registry(place).models()
    bundle = Bundle.load(Registry(place).fetch("minded", tmp_path / "cache").bundle)
    assert (model.name, opinion_of(bundle)) == ("minded", learn(alerts, found).opinion)
    assert {SPEC_OF_OPINION, "MODEL_CARD.md"} == {
        name for name, entry in bundle.manifest.files.items() if entry != Bundle.load(DEFAULT).manifest.files.get(name)
    }
    # The days of the alerts that it has learnt from are in its lineage, and so no replay of them is taken for proof.
    assert knows(bundle.manifest.lineage, alerts[0].times.available_at, alerts[-1].times.available_at).overlaps
    assert challenges(learn(alerts, found).opinion)

    # A worker follows: what it serves tells of the same alarms what an analyst will find, until it is rolled back.
    settings = Settings(registry=str(place), cache=tmp_path / "cache", allow_unsigned=True)
    champion = Champion(settings, lambda: pytest.fail("refused"))
    stages = [champion.load(loaded, None)]
    assert champion.take(Promoted(1, promotion(model.id)))
    stages.append(champion.load(loaded, stages[0]))
    plain, minded = map(played, stages)
    assert [one.finding.probability for one in plain] == [None] * len(plain)
    assert all(one.finding.probability is not None for one in minded)
    assert [replace(one.finding, probability=None) for one in minded] == [one.finding for one in plain] != []
    assert champion.take(Promoted(2, promotion("", back=True)))
    started: list[Path | None] = []
    champion.load(lambda asked: started.append(asked.bundle) or stages[0], stages[1])
    assert started == [None]
    assert "opinion" in stages[1].about["members"]
    assert not {*stages[0].instrument.configs} & {*stages[1].instrument.configs}, "other alerts have other ids"

    (tmp_path / "found.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, found[:5])))
    code, told = called(*retrain, registry=place)
    assert (code, "opinion cannot learn: 5 findings are of alerts that are there" in told) == (2, True), told


def challenges(opinion: Opinion) -> bool:
    """Say whether the gate finds an opinion right about a later month's alarms, which it has not learnt from."""
    later, truth = desk(200, seed=2)
    # Each of an instrument of its own: a label speaks of what rings near it.
    rang = [
        replace(
            one,
            subject=replace(one.subject, instrument=one.episode_id),
            finding=replace(one.finding, severity="critical"),
        )
        for one in later
    ]
    labels = [replace(label, instruments=[label.event_id]) for label in labels_of(truth)]
    told = [replace(one, finding=replace(one.finding, probability=opinion.probability(one))) for one in rang]
    span = {"from_ns": later[0].times.available_at, "to_ns": later[-1].times.available_at + 1, "live_ns": 0}
    *_, target = checks(shadowed(rang, told, labels, **span), Policy(target="log_loss"))
    return target.passed


def loaded(settings: Settings) -> Stages:
    return load_stages(settings, lambda _: None)


def played(stages: Stages) -> list[Alert]:
    """Return what a model's stage of instruments tells of two quiet hours and a pump."""

    async def given() -> AsyncIterator[Item]:
        for item in arrivals([pump()]):
            yield item

    async def taken() -> list[Alert]:
        told = [
            one
            async for one in stages.instrument.agent(given(), StateTable[InstrumentState]())
            if isinstance(one, Alert)
        ]
        return [one for one in told if one.activity == "create"]

    return asyncio.run(taken())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("credit",), "credit cannot learn from what runs through the monitor: it is learnt from statements"),
        (("fusion",), "`tocsin train stocknet --until DAY`"),
        (("pump",), "its thresholds are in no bundle"),
        (("mood",), "MEMBER: expected order_flow or opinion, found 'mood'"),
        (("order_flow",), "order_flow learns from recordings: name at least one"),
    ],
)
def test_members_that_a_recording_cannot_teach_say_what_teaches_them(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    code, output = called("retrain", *arguments, "--author", "me", registry=tmp_path / "models")
    assert (code, told in output) == (2, True), output
