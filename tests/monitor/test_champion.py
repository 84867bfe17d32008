"""Which model is champion by what was promoted and rolled back, and which a process serves where that one cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from engines.bundle import Bundle
from monitor.champion import Champion, standings, way_back
from monitor.control import Promoted
from monitor.errors import StartupError
from monitor.folders import FolderError
from monitor.registry import Model, Registry
from monitor.settings import Settings
from monitor.stage import Stages
from schemas.control import Promotion
from tests.engines.bundles import write_bundle
from tests.full import filling


def promotion(model: str, *, back: bool = False, at_s: int = 1) -> Promotion:
    return Promotion(
        model=model,
        name=f"the {model}",
        change="rollback" if back else "promotion",
        previous="",
        published_ns=at_s * 10**9,
        author="me",
        reason=f"because of {model}",
    )


def back_to(model: str, at_s: int = 1) -> Promotion:
    return promotion(model, back=True, at_s=at_s)


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ([], ""),
        ([promotion("a"), promotion("b")], "ab"),
        ([promotion("a"), promotion("b"), back_to("a"), back_to("")], ""),
        # Promoted again it is there twice, and a rollback goes to what was between.
        ([promotion("a"), promotion("b"), promotion("a"), back_to("b")], "ab"),
        # Two people who roll back at once ask for the same.
        ([promotion("a"), promotion("b"), back_to("a"), back_to("a")], "a"),
        ([promotion("a"), promotion("a"), back_to("")], ""),
    ],
)
def test_a_rollback_goes_back_to_what_was_champion_before(told: list[Promotion], left: str) -> None:
    assert "".join(one.model for one in way_back(told)) == left


def test_what_was_champion_is_retired_and_what_never_was_is_a_challenger() -> None:
    models = [
        Model(id=one, name=one, bundle=one, files={}, added_ns=0, author="maker", reason="new", origin="")
        for one in ("a", "b", "c")
    ]
    found = standings(models, [promotion("a", at_s=1), promotion("b", at_s=2), back_to("a", at_s=3)])
    assert [(found[one].role, found[one].since_ns // 10**9) for one in "abc"] == [
        ("champion", 3),
        ("retired", 3),
        ("challenger", 0),
    ]
    assert (found["b"].author, found["b"].reason) == ("me", "because of a")


class Process:
    """A champion over a registry of bundles a, b and c, and stages that know their bundle alone."""

    def __init__(self, tmp_path: Path) -> None:
        self.place = tmp_path / "models"
        registry = Registry(self.place)
        self.ids = {}
        for name in "abc":
            bundle = write_bundle(tmp_path / name, text_json=f'"{name}"'.encode())
            self.ids[name] = registry.add(bundle, name, author="", reason="", origin="", now_ns=0).id
        self.refusals = 0
        settings = Settings(registry=str(self.place), cache=tmp_path / "cache")
        self.champion = Champion(settings, self.refuse)
        self.told = 0

    def refuse(self) -> None:
        self.refusals += 1

    def tell(self, name: str, *, back: bool = False) -> bool:
        self.told += 1
        return self.champion.take(Promoted(self.told, promotion(self.ids.get(name, name), back=back)))

    def load(self, before: Stages | None = None, *broken: str) -> Stages:
        return self.champion.load(self.maker(broken), before)

    def maker(self, broken: tuple[str, ...]) -> Callable[[Settings], Stages]:
        def make(settings: Settings) -> Stages:
            name = "start" if settings.bundle is None else Bundle.load(settings.bundle).read("text.json").decode()[1]
            if name in broken:
                raise RuntimeError(f"{name} cannot")
            return cast(Stages, SimpleNamespace(about={"name": name}))

        return make


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path)


def name_of(stages: Stages) -> Any:
    return stages.about["name"]


def test_the_last_that_was_promoted_serves_and_before_the_first_what_was_started_with(process: Process) -> None:
    served = process.load()
    assert name_of(served) == "start"
    assert process.champion.about() == {}
    for name, back in (("a", False), ("b", False), ("a", True), ("", True)):
        assert process.tell(name, back=back)
        served = process.load(served)
        assert name_of(served) == (name or "start")
    assert process.refusals == 0


def test_what_was_told_before_the_start_is_no_news(process: Process) -> None:
    assert process.tell("a")
    process.told -= 1
    assert not process.tell("a")


def test_what_cannot_serve_leaves_the_champion_serving_and_is_told(process: Process) -> None:
    process.tell("a")
    served = process.load()
    process.tell("b")
    with capture_logs() as logged:
        assert process.load(served, "b") is served
    (line,) = [one for one in logged if one["event"] == "model refused, the one before it serves"]
    assert (line["model"], line["reason"]) == (process.ids["b"], "RuntimeError: b cannot")
    assert process.refusals == 1
    told = process.champion.about()["promoted"]
    assert (told["model"], told["refused"]) == (
        process.ids["b"],
        f"the {process.ids['b']} ({process.ids['b']}): RuntimeError: b cannot",
    )
    # A worker that starts now agrees, and what serves again has nothing to say.
    assert name_of(process.load(None, "b")) == "a"
    assert name_of(process.load(served)) == "b"
    assert process.champion.about()["promoted"]["refused"] == ""


def test_a_rollback_to_what_cannot_serve_goes_on_to_the_one_before(process: Process) -> None:
    process.tell("a")
    process.tell("b")
    process.tell("c")
    served = process.load()
    process.tell("b", back=True)
    assert name_of(process.load(served, "b")) == name_of(process.load(None, "b")) == "a"
    with pytest.raises(RuntimeError, match="start cannot"):
        process.load(None, "a", "b", "start")
    base = process.load(None, "a", "b")
    assert process.load(base, "a", "b") is base


def test_half_a_model_is_refused_and_an_absent_registry_is_waited_for(process: Process) -> None:
    process.tell("a")
    served = process.load()
    process.tell("b")
    (process.place / process.ids["b"] / "model.json").unlink()
    assert process.load(served) is served
    assert "is half written" in process.champion.about()["promoted"]["refused"]
    process.tell("c")
    process.place.rename(process.place.with_name("away"))
    with pytest.raises(FolderError, match="the registry, is not there"):
        process.load(served)
    assert "the registry, is not there: mount it" in process.champion.about()["promoted"]["refused"]


def test_what_there_is_no_room_for_is_followed_once_there_is(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    process.tell("a")
    served = process.load()
    process.tell("b")
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", filling(1))
        # Not the one before it, as if `b` were no good: other workers have room.
        with pytest.raises(FolderError, match="No space left on device"):
            process.load(served)
    assert "cannot be written (No space left on device)" in process.champion.about()["promoted"]["refused"]
    assert process.refusals == 0
    assert name_of(process.load(served)) == "b"
    assert process.champion.about()["promoted"]["refused"] == ""


def test_labels_of_a_model_come_and_go_with_it(process: Process, tmp_path: Path) -> None:
    own, usual = tmp_path / "own", tmp_path / "usual"
    own.mkdir()
    (own / "cyber.json").write_bytes(b"{}")
    registry = Registry(process.place)
    labelled = registry.add(tmp_path / "a", "labelled", labels=own, author="", reason="", origin="", now_ns=0)
    process.ids["labelled"] = labelled.id
    settings = Settings(registry=str(process.place), cache=tmp_path / "cache", labels=usual)
    process.champion = Champion(settings, process.refuse)
    asked: list[Path | None] = []

    def make(settings: Settings) -> Stages:
        asked.append(settings.labels)
        return cast(Stages, SimpleNamespace(about={}))

    for name, back in (("a", False), ("labelled", False), ("a", True)):
        process.tell(name, back=back)
        process.champion.load(make, None)
    assert asked[0] == asked[2] == usual
    assert asked[1] is not None
    assert [path.name for path in asked[1].iterdir()] == ["cyber.json"]


def test_without_a_registry_promotions_are_told_of_and_not_followed(tmp_path: Path) -> None:
    champion = Champion(Settings(), lambda: None)
    with capture_logs() as logged:
        assert not champion.take(Promoted(0, promotion("a")))
    assert logged[0]["event"].startswith("a promotion is not followed: set TOCSIN_REGISTRY")

    def make(settings: Settings) -> Stages:
        raise StartupError("no bundle")

    with pytest.raises(StartupError, match="no bundle"):
        champion.load(make, None)
