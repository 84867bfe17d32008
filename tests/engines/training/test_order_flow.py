"""What is learnt of order flow: rows are what the daemon asks, and what is written serves in a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

from rich.progress import Progress

from engines.bundle import DEFAULT, Bundle
from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.order_flow import MODEL, SPEC, of
from engines.simulator.day import Config
from engines.training import build, order_flow
from engines.training.models import order_flow as network
from engines.training.order_flow import TYPOLOGIES, Played, Rows, rows_of, weights_of
from engines.training.tasks import Run
from engines.training.tasks import order_flow as task
from engines.training.tasks.tables import FolderError
from monitor.simulation import companies_of, write
from tests import misconduct

pytestmark = pytest.mark.slow
COMPANIES = companies_of(SymbolMaster.load(DEFAULT_SYMBOLS), 2)
PLAYED = ("spoofing", "quote_stuffing", "layering")


def config(number: int) -> Config:
    """Return a session so short that no sample of the depth is forgotten, the fifth of the other model."""
    model: Literal["agents", "queues"] = "queues" if number == 4 else "agents"
    return Config(model=model, seed=50 + number, hours=0.5, ticks_a_second=1.5, calls=0, typologies=PLAYED)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("days")
    for number in range(5):
        write(folder / f"day-{number}", config(number), COMPANIES)
    return folder


@pytest.fixture(scope="module")
def days(recorded: Path) -> list[Played]:
    return [task.read(path) for path in task.recordings(recorded)]


def test_a_recording_gives_the_rows_of_the_day_that_it_was_written_of(days: list[Played]) -> None:
    mine, its = rows_of([order_flow.played(config(0), COMPANIES)]), rows_of(days[:1])
    assert len(mine.unit) > 200
    for name in ("events", "beside", "labels", "rules", "unit", "happened", "ruled", "block"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(its, name))


def test_rows_say_what_happened_and_are_thinned_where_nothing_did(days: list[Played]) -> None:
    whole, thin = rows_of(days[:2]), rows_of(days[:2], thinned=True)
    assert len(thin.unit) < len(whole.unit)
    assert (thin.labels == 1).sum() == (whole.labels == 1).sum() > 0
    assert whole.happened[:, [TYPOLOGIES.index(name) for name in PLAYED]].any(0).all()
    assert not whole.happened[:, TYPOLOGIES.index("wash_trading")].any()
    assert {day for day, _, _ in whole.names} == {"day-0", "day-1"}


def test_a_day_ends_after_the_last_look_at_its_news() -> None:
    """Of two news the price answered both; the insider's, which came later, is looked at after the other one."""
    made = misconduct.Market()
    made.quiet(misconduct.AT)
    misconduct.ACTS["insider_dealing"][0](made, made.mid)
    made.tell(misconduct.AT - 680.0)
    made.quiet(100, seed=1, begin=misconduct.AT)
    items = order_flow.items_of(made.orders(), made.ticks(), made.news)
    rows = rows_of([Played("a day", "agents", {made.instrument: items}, [])])
    ruled = dict(zip((account for *_, account in rows.names), rows.ruled, strict=True))
    assert ruled["insider"][TYPOLOGIES.index("insider_dealing")] >= 0.5


def test_the_task_learns_of_one_model_and_tells_of_the_other(recorded: Path, tmp_path: Path) -> None:
    with Progress(disable=True) as progress:
        out = task.run(recorded, recorded, tmp_path / "told.csv", Run(progress, keep=tmp_path / "kept"))
    told = {key.split(" ")[0] for key in out.metrics}
    assert told == {"agents", "queues"}
    assert {"tocsin", "rules", "network", "logistic", "prevalence"} == {key.split(" ")[2] for key in out.metrics}
    assert (tmp_path / "told.csv").read_text().startswith("day,instrument,account,typology,score,rule,network")
    assert (tmp_path / "kept" / MODEL).is_file()


def test_a_folder_without_recordings_is_named(tmp_path: Path) -> None:
    with (
        Progress(disable=True) as progress,
        pytest.raises(FolderError, match="expected recordings of `tocsin simulate"),
    ):
        task.run(tmp_path, tmp_path, tmp_path / "told.csv", Run(progress))


def test_what_is_added_to_a_bundle_serves_and_leaves_all_else_as_it_was(days: list[Played], tmp_path: Path) -> None:
    shutil.copytree(DEFAULT, tmp_path / "bundle")
    rows = rows_of(days[:4])
    played = dict.fromkeys(order_flow.PARTS, rows)
    files, part = order_flow.made(played, lambda: None)
    build.put(tmp_path / "bundle", "order_flow", build.Member(files, part, order_flow.SOURCE))
    before, after = Bundle.load(DEFAULT), Bundle.load(tmp_path / "bundle")
    assert after.read(MODEL) != before.read(MODEL)
    ours = {MODEL, SPEC, build.CARD}
    assert all(after.manifest.files[name] == entry for name, entry in before.manifest.files.items() if name not in ours)
    assert "never saw a real order" in after.read(build.CARD).decode()
    assert [source.name for source in after.manifest.lineage].count(order_flow.SOURCE.name) == 1
    model = of(after)
    assert model is not None
    assert model.spec.typologies == list(TYPOLOGIES)


def test_the_served_probabilities_are_the_networks(days: list[Played], tmp_path: Path) -> None:
    rows = rows_of(days[:1])
    learnt = order_flow.learn(rows, rows, lambda: None)
    assert learnt.spec.typologies == list(TYPOLOGIES)
    assert network.logits(learnt.model, rows.events[:5], rows.beside[:5]).shape == (5, len(TYPOLOGIES))
    shutil.copytree(DEFAULT, tmp_path / "bundle")
    part = Bundle.load(DEFAULT).manifest.parts["text"]
    build.put(tmp_path / "bundle", "order_flow", build.Member(learnt.files(), part, order_flow.SOURCE))
    model = of(Bundle.load(tmp_path / "bundle"))
    assert model is not None
    served = model.log_odds(rows.events[:50].astype(np.float32), rows.beside[:50])
    told = network.logits(learnt.model, rows.events[:50], rows.beside[:50])
    np.testing.assert_allclose(served, told * learnt.spec.slopes + learnt.spec.intercepts, atol=1e-4)


def test_a_weight_is_what_gains_and_none_where_nothing_does() -> None:
    k = TYPOLOGIES.index("layering")
    n, blank = 4, len(TYPOLOGIES)
    happened = np.zeros((n, blank), np.int8)
    happened[:2, k] = 1
    told = np.zeros((n, blank))
    told[:, k] = [0.9, 0.8, 0.4, 0.3]
    rows = Rows(
        events=np.zeros((n, 1, 1), np.float16),
        beside=np.zeros((n, 1), np.float32),
        labels=np.zeros((n, blank), np.int8),
        rules=np.zeros((n, blank)),
        unit=np.arange(n),
        happened=happened,
        ruled=np.zeros((n, blank)),
        block=np.zeros(n, np.int64),
        names=[("day", "ACME.XTOC", str(i)) for i in range(n)],
    )
    weights = weights_of(rows, told)
    assert 0.5 / 0.8 <= weights[k] <= 1.0
    assert sum(weights) == weights[k]
