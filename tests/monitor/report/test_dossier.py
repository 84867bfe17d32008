"""A dossier says of one alert why it rang, on what, and whether the recording still holds it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.recordings import Recording
from monitor.replay_format import Counts, Origin, Told
from monitor.replay_writer import ReplayWriter
from monitor.report import dossier, page
from monitor.report.page import Cell, Plot, Table
from schemas.alerts import Alert, Modality
from tests import misconduct
from tests.golden import day
from tests.monitor.report import made


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return made.recording(tmp_path_factory.mktemp("day") / "day")


@pytest.fixture(scope="module")
def spoofed(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return made.misconduct_recording(tmp_path_factory.mktemp("day") / "spoofed", "spoofing")


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, recording: Recording) -> Path:
    """The folder of a replay that gave the golden day's alerts, written as a replay writes it."""
    folder = tmp_path_factory.mktemp("replay") / "replayed"
    told = Told(
        code_version="0.1.0",
        source="history",
        recording=Origin(path=str(recording.path), digest=recording.digest),
        from_ns=recording.first_ns,
        to_ns=recording.last_ns + 1,
        bundle="",
        config="",
        digest="",
        counts=Counts(),
    )
    with ReplayWriter(folder, specs={}, floor=0.1) as writer:
        writer.finish(made.alerts(), told, [])
    return folder


def shown(alert: Alert, recording: Recording | None) -> dossier.Case:
    return dossier.gather(alert, made.alerts(), recording)


def words(row: object) -> list[str]:
    return [cell.text if isinstance(cell, Cell) else str(cell) for cell in row]  # type: ignore[attr-defined]


def table(sections: list[page.Section], anchor: str) -> Table:
    return next(b for s in sections if s.anchor == anchor for b in s.blocks if isinstance(b, Table))


def test_every_modality_has_its_exhibit(recording: Recording) -> None:
    sections = dossier.sections(shown(made.hostile_alert(), recording), "alert")
    assert [section.anchor for section in sections] == [
        "why",
        "evidence",
        "book",
        "modalities",
        "episode",
        "inputs",
        "made",
    ]
    kinds = [block.kind for block in sections[1].blocks]
    assert kinds == ["plot", "words", "picture", "plot", "sound"]
    assert [block.kind for block in sections[2].blocks] == ["note", "plot", "table"]


def book_of(alert: Alert, recording: Recording) -> list[page.Block]:
    sections = dossier.sections(dossier.gather(alert, [alert], recording), "alert")
    return [block for section in sections if section.anchor == "book" for block in section.blocks]


def test_the_book_tells_the_accounts_orders_apart(spoofed: Recording) -> None:
    plot, ladder = book_of(made.spoofing_alert(), spoofed)
    assert isinstance(plot, Plot)
    assert isinstance(ladder, Table)
    assert "Of spoofer 6 orders" in plot.alt
    assert "3 fills" in plot.alt
    named = {trace.name for trace in plot.figure.data}
    assert {"its buy orders, large", "buy order withdrawn", "its sell orders", "its sells filled"} <= named
    assert plot.table
    assert [words(row)[3:8] for row in plot.table.rows[:2]] == [
        ["sell", "100.3", "5", "5", "filled"],
        ["buy", "100.27", "60", "", "cancelled"],
    ]
    assert ["100.27", "65", "60", "", ""] in ladder.rows


def test_of_a_long_window_the_book_is_where_the_account_did_anything(spoofed: Recording) -> None:
    alert = made.spoofing_alert()
    hour_ns = 3_600 * 10**9
    long = msgspec.structs.replace(alert.times, event_start=alert.times.event_end - hour_ns)
    shown = [dossier.gather(one, [], spoofed).book for one in (alert, msgspec.structs.replace(alert, times=long))]
    begins, ends = misconduct.market("spoofing").ns(misconduct.AT - 30), alert.times.available_at + 30 * 10**9
    assert (shown[1].from_ns, shown[1].to_ns) == (begins, ends)
    assert list(shown[1].legs) == list(shown[0].legs)


def test_ticks_and_book_look_at_the_same_time(spoofed: Recording) -> None:
    sections = dossier.sections(dossier.gather(made.spoofing_alert(), [], spoofed), "alert")
    plots = [block for section in sections[1:3] for block in section.blocks if isinstance(block, Plot)]
    assert [(plot.name, plot.group) for plot in plots] == [
        ("alert-ticks", "alert-time"),
        ("alert-book", "alert-time"),
    ]


def test_without_order_frames_the_book_says_so_in_a_sentence(recording: Recording, spoofed: Recording) -> None:
    note = book_of(made.hostile_alert(), recording)[0]
    assert note == page.Note(
        "The recording has no order frames of JUNIPER.XTOC around the alert: its book is known from updates and"
        " quotes only."
    )
    (none,) = book_of(made.hostile_alert(), spoofed)
    assert isinstance(none, page.Note)
    assert "neither order frames nor quotes of JUNIPER.XTOC" in none.text


def test_what_concerns_no_instrument_has_no_book(spoofed: Recording) -> None:
    alert = made.spoofing_alert()
    subject = msgspec.structs.replace(alert.subject, instrument="accounts")
    assert book_of(msgspec.structs.replace(alert, subject=subject), spoofed) == []


def test_rules_are_held_against_their_bounds(recording: Recording) -> None:
    pumped = next(a for a in day.stored().alerts if a.finding.typology.startswith("pump_and_dump"))
    sections = dossier.sections(shown(pumped, recording), "alert")
    plot = next(block for block in sections[0].blocks if isinstance(block, Plot))
    (bar,) = plot.figure.data
    rules = pumped.explanation.rules[::-1]
    assert [2 ** float(x) for x in bar.x] == pytest.approx([rule.value / rule.threshold for rule in rules], rel=1e-5)
    assert len(table(sections, "why").rows) == len(rules)


def test_missing_modalities_are_told_from_those_that_weigh_nothing(recording: Recording) -> None:
    alert = msgspec.structs.replace(
        made.hostile_alert(),
        modalities={
            "text": Modality(present=False),
            "chart": Modality(present=True, age_ns=90 * 10**9, score=0.5, weight=0.0),
        },
    )
    rows = table(dossier.sections(shown(alert, recording), "alert"), "modalities").rows
    assert [words(row)[:5] for row in rows] == [
        ["text", "missing", "", "", ""],
        ["chart", "there", "90 s", "0.500", "0 %"],
    ]


def test_inputs_say_whether_the_recording_holds_them(recording: Recording) -> None:
    alert = made.hostile_alert()
    first, *others = alert.evidence.inputs
    wrong = msgspec.structs.replace(first, sha256="00" * 32)
    absent = msgspec.structs.replace(first, offset=999_999)
    changed = msgspec.structs.replace(
        alert, evidence=msgspec.structs.replace(alert.evidence, inputs=[wrong, absent, *others])
    )
    case = shown(changed, recording)
    states = [words(row)[-1] for row in table(dossier.sections(case, "alert"), "inputs").rows]
    assert states == ["differs", "not in this recording", *["verified"] * len(others)]
    warnings = dossier.page(case, "day").warnings
    assert "1 of 7 inputs in day have another SHA-256" in warnings[0]
    assert "1 of 7 inputs are not in day" in warnings[1]


def test_without_a_recording_nothing_is_shown_as_evidence() -> None:
    case = shown(made.hostile_alert(), None)
    assert "evidence" not in [section.anchor for section in dossier.sections(case, "alert")]
    assert "cannot be shown" in dossier.page(case, "nowhere").warnings[0]


def test_all_revisions_of_the_episode_are_told(recording: Recording) -> None:
    pumped = next(a for a in day.stored().alerts if a.finding.typology.startswith("pump_and_dump"))
    rows = table(dossier.sections(shown(pumped, recording), "alert"), "episode").rows
    assert [words(row)[2] for row in rows] == ["create", "close"]


def test_the_command_writes_a_dossier_of_the_recording_that_was_replayed(replayed: Path, tmp_path: Path) -> None:
    alert = made.hostile_alert()
    out = tmp_path / "alert.html"
    done = CliRunner().invoke(app, ["dossier", str(replayed), alert.alert_id[:10], "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "JUNIPER.XTOC" in done.output
    text = out.read_text()
    assert alert.alert_id in text
    assert text.count("verified") >= len(alert.evidence.inputs)


def test_the_command_keeps_the_book_as_data(replayed: Path, spoofed: Recording, tmp_path: Path) -> None:
    out, book = tmp_path / "alert.html", tmp_path / "book.csv"
    arguments = ["dossier", str(replayed), made.hostile_alert().alert_id, "--out", str(out), "--book"]
    done = CliRunner().invoke(app, [*arguments, str(book)])
    assert done.exit_code == 0, done.output
    assert "rebuilt of updates" in " ".join(done.output.split())
    assert book.read_text().startswith('"kind","from_ns"')
    elsewhere = CliRunner().invoke(app, [*arguments, str(tmp_path / "b.csv"), "--recording", str(spoofed.path)])
    assert elsewhere.exit_code == 2
    assert "neither orders nor quotes of JUNIPER.XTOC" in " ".join(elsewhere.output.split())
    refused = CliRunner().invoke(app, [*arguments, str(tmp_path / "book.txt")])
    assert refused.exit_code == 2
    assert not (tmp_path / "book.txt").exists()


def test_an_episode_is_shown_by_its_first_alert(replayed: Path, tmp_path: Path) -> None:
    alert = next(a for a in made.alerts() if a.finding.typology.startswith("pump_and_dump"))
    out = tmp_path / "alert.html"
    done = CliRunner().invoke(app, ["dossier", str(replayed), alert.episode_id, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert f"Alert {alert.alert_id} of tocsin" in out.read_text()


@pytest.mark.parametrize(("wanted", "said"), [("zz", "begins with 'zz'"), ("", "found nothing")])
def test_an_id_that_is_no_one_alerts_is_refused_in_a_sentence(
    replayed: Path, tmp_path: Path, wanted: str, said: str
) -> None:
    done = CliRunner().invoke(app, ["dossier", str(replayed), wanted, "--out", str(tmp_path / "a.html")])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not (tmp_path / "a.html").exists()


def test_another_recording_is_used_and_what_differs_is_said(replayed: Path, tmp_path: Path) -> None:
    out = tmp_path / "alert.html"
    arguments = ["dossier", str(replayed), made.hostile_alert().alert_id, "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--recording", str(day.RECORDING)])
    assert done.exit_code == 0, done.output
    assert "what differs is marked" in " ".join(done.output.split())
    assert "not in this recording" in out.read_text()
    missing = CliRunner().invoke(app, [*arguments, "--recording", str(tmp_path / "none")])
    assert missing.exit_code == 2
