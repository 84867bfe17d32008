"""A report says what was tested and what to beware of, whatever a backtest found, and stays small."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from engines.backtest.results import Backtest, Span
from monitor import report
from monitor.cli import app
from monitor.recordings import Recording
from monitor.report import material, page
from monitor.report.page import Fold, Note, Page, Plot, Table
from tests.backtests import a_backtest
from tests.golden import day
from tests.monitor.report import made


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return made.recording(tmp_path_factory.mktemp("day") / "day")


@pytest.fixture(scope="module")
def composed(recording: Recording) -> Page:
    return report.compose(made.material(recording))


def nothing_found(recording: Recording) -> Backtest:
    """Return a backtest of a day without an alarm, a label or a curve."""
    found = a_backtest([], [], recording.first_ns, recording.last_ns)
    empty = {name: [] for name in found.__struct_fields__ if isinstance(getattr(found, name), list)}
    del empty["contenders"]
    return msgspec.structs.replace(found, **empty, walk_forward=None, base_rate=None)


def blocks_of(found: Page, anchor: str) -> list[page.Block]:
    return [block for section in found.sections if section.anchor == anchor for block in section.blocks]


def test_sections_stand_in_their_order_and_none_is_missing(composed: Page) -> None:
    assert [section.anchor for section in composed.sections] == [
        "brief", "events", "prices", "days", "rates", "pr", "costs", "leads", "reliability", "latency", "ablation",
        "alarms", "dossiers", "method",
    ]  # fmt: skip
    assert len(report.SECTIONS) == len(composed.sections)


def test_names_of_plots_and_anchors_are_unique(composed: Page) -> None:
    names: list[str] = [section.anchor for section in composed.sections]

    def walk(blocks: object) -> None:
        for block in blocks:  # type: ignore[attr-defined]
            if isinstance(block, Plot):
                names.append(f"plot-{block.name}")
            elif isinstance(block, Fold):
                names.append(block.anchor)
                walk(block.blocks)

    for section in composed.sections:
        walk(section.blocks)
    assert len(names) == len(set(names))


def test_it_says_what_was_tested_and_what_to_beware_of(recording: Recording) -> None:
    found = made.material(recording).found
    gaps = [Span(from_ns=found.tested.from_ns, to_ns=found.tested.to_ns, what="a file was damaged")]
    tested = msgspec.structs.replace(found.tested, stamps=["Trained on what is tested."], gaps=gaps)
    told = material.gather(msgspec.structs.replace(found, tested=tested), made.alerts(), recording)
    text = page.render(report.compose(told))
    for part in ("2 things to know", "Trained on what is tested.", "a file was damaged", tested.config[:16]):
        assert part in text
    assert tested.alert_digest[:16] in text


def test_figures_stand_beside_those_that_know_nothing(composed: Page) -> None:
    cards = next(block for block in blocks_of(composed, "brief") if isinstance(block, page.Cards))
    precision = cards.cards[0]
    assert [name for name, _, _ in precision.others] == ["random", "always"]
    assert precision.at
    value, low, high = precision.at
    assert low <= value <= high
    assert precision.value == f"{value:.2f}"
    (table,) = [block for block in blocks_of(composed, "brief") if isinstance(block, Table)]
    assert [row[0] if isinstance(row[0], str) else row[0].text for row in table.rows] == [
        "tocsin", "random", "always", "nothing",
    ]  # fmt: skip


def test_a_backtest_that_found_nothing_gives_a_page_all_the_same(recording: Recording) -> None:
    found = report.compose(material.gather(nothing_found(recording), [], None))
    assert [section.anchor for section in found.sections] == ["brief", "method"]
    assert page.render(found)


def test_without_a_recording_alerts_are_there_without_evidence(recording: Recording) -> None:
    told = made.alerts()
    found = a_backtest(told, made.labels(), recording.first_ns, recording.last_ns)
    composed = report.compose(material.gather(found, told, None))
    anchors = [section.anchor for section in composed.sections]
    assert "prices" not in anchors
    assert {"alarms", "dossiers"} <= set(anchors)


def test_prices_are_of_instruments_with_labels_first(composed: Page) -> None:
    names = [block.title for block in blocks_of(composed, "prices") if isinstance(block, Fold)]
    assert names[0] == "TERRACE.XTOC"
    assert set(names) == {"TERRACE.XTOC", "JUNIPER.XTOC", "CINDER.XTOC"}


def test_benign_events_of_a_file_of_labels_are_shaded(recording: Recording) -> None:
    told = made.material(recording)
    event = msgspec.structs.replace(
        told.found.catches[0].label, event_id="of a file", typology="quarterly_fixing", benign=True, public_ns=0
    )
    shown = material.gather(msgspec.structs.replace(told.found, benign=[event]), made.alerts(), recording)
    text = page.render(report.compose(shown))
    assert "quarterly_fixing (benign)" in text
    assert not any(label.benign for label in shown.labels if label.event_id != "of a file")


def test_a_curve_of_precision_and_recall_holds_the_area_that_it_is_said_to_hold(composed: Page) -> None:
    (plot,) = [block for block in blocks_of(composed, "pr") if isinstance(block, Plot)]
    line = plot.figure.data[0]
    assert line.line.shape == "vh"
    recall, precision = (np.asarray(column, float) for column in (line.x, line.y))
    assert (recall[0], precision[0]) == (0, precision[1])


def test_where_no_threshold_could_be_chosen_no_cost_of_one_is_told(recording: Recording) -> None:
    told = made.material(recording)
    assert told.found.walk_forward is not None
    choices = [msgspec.structs.replace(one, chosen=False) for one in told.found.walk_forward.choices]
    walked = msgspec.structs.replace(told.found.walk_forward, choices=choices)
    found = msgspec.structs.replace(told.found, walk_forward=walked)
    blocks = blocks_of(report.compose(dataclasses.replace(told, found=found)), "costs")
    notes = [block.text for block in blocks if isinstance(block, Note)]
    assert notes == ["No threshold could be chosen as time went by: too few labels were known."]
    assert not any(isinstance(block, Table) for block in blocks)


def test_what_is_too_much_is_left_out_and_said(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "MOST_INSTRUMENTS", 2)
    monkeypatch.setattr(material, "MOST_DOSSIERS", 1)
    composed = report.compose(made.material(recording))
    prices = blocks_of(composed, "prices")
    assert sum(isinstance(block, Fold) for block in prices) == 2
    assert any(isinstance(block, Note) and block.text.startswith("1 more") for block in prices)
    assert len(blocks_of(composed, "dossiers")) == 1


def test_a_caught_event_leads_to_its_dossier(composed: Page) -> None:
    table = next(block for block in blocks_of(composed, "events") if isinstance(block, Table))
    links = [cell.href for row in table.rows for cell in row if not isinstance(cell, str) and cell.href]
    folds = {f"#{block.anchor}" for block in blocks_of(composed, "dossiers") if isinstance(block, Fold)}
    assert links
    assert set(links) <= folds


def test_a_day_stays_small_enough_to_mail(composed: Page, tmp_path: Path) -> None:
    page.write(composed, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


@pytest.mark.slow
def test_a_backtest_of_a_recording_ends_in_a_report(recording: Recording, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["backtest", str(recording.path), "--out", str(tmp_path / "tested")])
    assert done.exit_code == 0, done.output
    assert "report.html" in done.output
    text = (tmp_path / "tested" / "report.html").read_text()
    for title in ("In brief", "Caught and missed", "Price and volume", "Cost of a threshold", "Dossiers"):
        assert f">{title}</h2>" in text
    assert "TERRACE.XTOC" in text
    assert "the window of its pretraining" in text  # a stamp


def test_every_typology_has_a_dossier_before_any_has_two(recording: Recording) -> None:
    cases = made.material(recording).cases
    kinds = {alert.finding.typology for alert in day.stored().alerts if alert.activity == "create"}
    assert {case.alert.finding.typology for case in cases[: len(kinds) + 1]} == kinds
