"""Another bundle while the daemon serves: what is taken, what is refused, and what goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from engines.bundle import DEFAULT, MANIFEST, Bundle
from engines.inference import Session
from engines.signatures import make_key, read_key, sign
from monitor.champion import Champion
from monitor.control import Promoted
from monitor.errors import StartupError
from monitor.folders import FolderError
from monitor.metrics import Metrics
from monitor.registry import Registry
from monitor.rulebook import Rulebook
from monitor.sequencer import Pending
from monitor.settings import Settings
from monitor.stage import Stages, load_stages
from monitor.swap import Swaps
from monitor.trust import UNSIGNED
from monitor.worker import Worker
from schemas.control import Promotion
from schemas.journal import Decides
from tests.agents.streams import news
from tests.engines.bundles import alter_bundle
from tests.monitor.test_labels import made  # noqa: F401

NOBODY = cast(Any, None)
TEMPERATURE = b'"temperature": 1.9585'


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def link(tmp_path: Path) -> Path:
    """Return a link to the default bundle, as an operator keeps one."""
    path = tmp_path / "current"
    path.symlink_to(DEFAULT)
    return path


def turn(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def workers(stages: Stages, pool: Executor = NOBODY) -> list[Worker]:
    return [
        Worker(
            Settings(),
            name="w",
            stage=stage,
            source=NOBODY,
            producer=NOBODY,
            pool=pool,
            metrics=NOBODY,
            trace=None,
            rulebook=Rulebook(),
        )
        for stage in stages
    ]


def swaps_of(settings: Settings, thread: Executor) -> tuple[Swaps, Metrics]:
    def load(before: Stages | None) -> Stages:
        return load_stages(settings, lambda _: None, before=before)

    metrics, serving = Metrics(), load(None)
    return Swaps(serving, load, workers=workers(serving), metrics=metrics, thread=thread), metrics


def sessions() -> int:
    return sum(type(one) is Session for one in gc.get_objects())


def counted(metrics: Metrics, result: str) -> bool:
    return f'tocsin_bundle_swaps_total{{result="{result}"}} 1.0'.encode() in metrics.expose()


def test_a_link_that_was_turned_brings_its_bundle_and_the_old_one_is_let_go(tmp_path: Path, thread: Executor) -> None:
    current = link(tmp_path)
    swaps, metrics = swaps_of(Settings(bundle=current, allow_unsigned=True), thread)
    old = swaps.serving.about
    master, run_id = swaps.serving.master, swaps.serving.run_id
    turn(current, alter_bundle(tmp_path / "b", "text.json", TEMPERATURE, b'"temperature": 2.5'))
    gc.collect()
    before = sessions()
    gc.disable()  # what stood at the start is frozen in the daemon: no collection would find a cycle in it
    try:
        with capture_logs() as logged:
            asyncio.run(swaps.swap())
        thread.submit(int).result()  # the thread has let go of what it was given
        assert sessions() == before
    finally:
        gc.enable()
    new = swaps.serving
    assert new.about["bundle"] != old["bundle"]
    assert new.about["config"] != old["config"]
    by_rules = [worker.stage for worker in swaps._workers[1:]]
    assert [worker.stage for worker in swaps._workers] == [new.instrument, *by_rules]
    assert [stage.decides for stage in by_rules] == [new.account.decides, new.market.decides]
    assert new.master is master
    assert new.run_id == run_id
    line = logged[-1]
    assert (line["event"], line["was"], line["bundle"]) == ("bundle swapped", old["bundle"], new.about["bundle"])
    assert counted(metrics, "swapped")


def test_the_bundle_that_serves_already_changes_nothing(tmp_path: Path, thread: Executor) -> None:
    current = link(tmp_path)
    swaps, metrics = swaps_of(Settings(bundle=current, allow_unsigned=True), thread)
    serving = swaps.serving
    card = (DEFAULT / "MODEL_CARD.md").read_bytes()
    turn(current, alter_bundle(tmp_path / "b", "MODEL_CARD.md", card, card + b"Corrected.\n"))
    with capture_logs() as logged:
        asyncio.run(swaps.swap())
    assert swaps.serving is serving
    assert logged[-1]["event"].startswith("bundle unchanged")
    assert counted(metrics, "unchanged")


def loading(champion: Champion) -> Callable[[Stages | None], Stages]:
    """Return what loads the stages of a champion's bundle after others."""
    return lambda before: champion.load(lambda of: load_stages(of, lambda _: None, before=before), before)


def test_promoting_what_serves_already_swaps_nothing_and_tells_the_model(tmp_path: Path, thread: Executor) -> None:
    registry = Registry(tmp_path / "models")
    model = registry.add(DEFAULT, "same", author="", reason="", origin="", now_ns=0)
    champion = Champion(Settings(registry=registry.where, cache=tmp_path / "cache"), lambda: None)
    load = loading(champion)
    serving, metrics = load(None), Metrics()
    swaps = Swaps(serving, load, workers=workers(serving), metrics=metrics, thread=thread)
    promotion = Promotion(
        model=model.id, name="same", change="promotion", previous="", published_ns=0, author="me", reason=""
    )
    champion.take(Promoted(0, promotion))
    asyncio.run(swaps.swap())
    assert (swaps.serving is serving, swaps.serving.about["model"]) == (True, model.id)
    assert counted(metrics, "unchanged")


def corrupt(folder: Path) -> None:
    path = folder / "encoder.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def missing(folder: Path) -> None:
    (folder / "fusion.onnx").unlink()


def other_format(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"format":2', b'"format":1'))


REFUSED: list[tuple[str, tuple[str, bytes, bytes], Callable[[Path], None], str]] = [
    ("wrong digest", ("text.json", TEMPERATURE, b'"temperature": 2.5'), corrupt, "encoder.onnx has SHA-256"),
    ("missing file", ("text.json", TEMPERATURE, b'"temperature": 2.5'), missing, "fusion.onnx is missing"),
    ("other format", ("text.json", TEMPERATURE, b'"temperature": 2.5'), other_format, "has format 1, this version"),
    ("dimension", ("text.json", b'"dim": 384', b'"dim": 100'), lambda _: None, "outputs of shapes [(1, 384), (1, 3)]"),
    ("feature", ("fusion.json", b'"location"', b'"unheard"'), lambda _: None, "wants features ['unheard']"),
    ("tokenizer", ("tokenizer.json", b'"[UNK]":100,', b'"[UNK]":100'), lambda _: None, "json is no tokenizer: "),
]


@pytest.mark.parametrize(("altered", "broken", "sentence"), [pytest.param(*c[1:], id=c[0]) for c in REFUSED])
def test_what_is_wrong_with_a_bundle_is_a_sentence_and_the_old_one_serves_on(
    tmp_path: Path,
    thread: Executor,
    altered: tuple[str, bytes, bytes],
    broken: Callable[[Path], None],
    sentence: str,
) -> None:
    current = link(tmp_path)
    swaps, metrics = swaps_of(Settings(bundle=current, allow_unsigned=True), thread)
    serving, stages = swaps.serving, [worker.stage for worker in swaps._workers]
    folder = alter_bundle(tmp_path / "b", *altered)
    broken(folder)
    turn(current, folder)
    with capture_logs() as logged:
        asyncio.run(swaps.swap())
    line = logged[-1]
    assert (line["log_level"], line["event"]) == ("error", "bundle refused, the old one serves on")
    assert line["serves"] == serving.about["bundle"]
    assert sentence in line["reason"]
    assert "\n" not in line["reason"]
    assert swaps.serving is serving
    assert [worker.stage for worker in swaps._workers] == stages
    assert counted(metrics, "refused")


def test_a_bundle_that_nobody_vouches_for_is_refused_until_it_is_signed(tmp_path: Path, thread: Executor) -> None:
    current, key, strange = link(tmp_path), tmp_path / "desk.key", tmp_path / "strange.key"
    (public, desk), (_, other) = make_key(key), make_key(strange)
    swaps, metrics = swaps_of(Settings(bundle=current, bundle_trust=public), thread)
    assert swaps.serving.about["signed_by"] == "the release"
    folder = alter_bundle(tmp_path / "b", "text.json", TEMPERATURE, b'"temperature": 2.5')
    turn(current, folder)

    def refused() -> str:
        with capture_logs() as logged:
            asyncio.run(swaps.swap())
        assert swaps.serving.about["signed_by"] == "the release"
        assert logged[-1]["event"] == "bundle refused, the old one serves on"
        return str(logged[-1]["reason"])

    assert refused().startswith(f"{folder} bears no signature: sign it (`tocsin bundle sign {folder} --key KEY`")
    assert counted(metrics, "refused")
    sign(Bundle.load(folder), read_key(strange))
    assert refused().startswith(f"{folder} is signed by {other}, and trusted is {desk}: sign it")
    sign(Bundle.load(folder), read_key(key))
    asyncio.run(swaps.swap())
    assert swaps.serving.about["signed_by"] == desk
    assert counted(metrics, "swapped")


def test_who_has_signed_what_serves_already_is_told_from_then_on(tmp_path: Path, thread: Executor) -> None:
    current, key = link(tmp_path), tmp_path / "desk.key"
    public, desk = make_key(key)
    folder = alter_bundle(tmp_path / "b", "text.json", TEMPERATURE, b'"temperature": 2.5')
    turn(current, folder)
    swaps, metrics = swaps_of(Settings(bundle=current, bundle_trust=public, allow_unsigned=True), thread)
    assert swaps.serving.about["signed_by"] == UNSIGNED
    sign(Bundle.load(folder), read_key(key))
    asyncio.run(swaps.swap())
    assert swaps.serving.about["signed_by"] == desk
    assert counted(metrics, "unchanged")


def test_a_bundle_with_another_text_encoder_is_refused_where_labels_are_of_the_old_one(
    tmp_path: Path,
    thread: Executor,
    made: tuple[Path, str],  # noqa: F811
) -> None:
    current = link(tmp_path)
    swaps, _ = swaps_of(Settings(bundle=current, labels=made[0].parent, allow_unsigned=True), thread)
    turn(current, alter_bundle(tmp_path / "b", "text.json", TEMPERATURE, b'"temperature": 2.5'))
    with capture_logs() as logged:
        asyncio.run(swaps.swap())
    line = logged[-1]
    assert "was made with the text encoder" in line["reason"]
    assert "make it again with `tocsin labels add" in line["reason"]


async def test_it_is_loaded_once_more_for_those_who_asked_meanwhile(thread: Executor) -> None:
    asked, goes_on, loads = asyncio.Event(), threading.Event(), 0
    stage = SimpleNamespace(decides=Decides("b", "c"))
    serving = cast(Any, type("Served", (list,), {"about": {"bundle": "b"}})([stage]))

    def load(before: Stages) -> Stages:
        nonlocal loads
        loads += 1
        assert goes_on.wait(5)
        return before

    swaps = Swaps(serving, load, workers=[], metrics=Metrics(), thread=thread)
    keeping = asyncio.create_task(swaps.keep(asked))
    asked.set()
    while not loads:
        await asyncio.sleep(0.001)
    for _ in range(3):
        asked.set()
    goes_on.set()
    while loads < 2 or asked.is_set():
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert loads == 2
    keeping.cancel()


async def test_what_waits_in_a_lane_is_encoded_anew_by_the_bundle_that_will_judge_it() -> None:
    """Messages that the old encoders work on, have done, have refused or have not begun; ticks are nobody's."""
    holding, running = threading.Event(), threading.Event()
    told: list[str] = []

    def encoder(name: str) -> Callable[[Any], Any]:
        def encode(record: Any) -> str:
            told.append(f"{name} {record.document_id}")
            if name == "old" and record.document_id == "runs":
                running.set()
                assert holding.wait(5)
            if name == "old" and record.document_id == "refused":
                raise ValueError("refused")
            return f"{name} {record.document_id}"

        return encode

    def stage(name: str, *modalities: str) -> Any:
        return SimpleNamespace(
            name="instrument", topics=("news",), decides=Decides(name, name), agent=None,
            encoders=dict.fromkeys(modalities, encoder(name)),
        )  # fmt: skip

    with ThreadPoolExecutor(1) as pool:
        old, new, textless = stage("old", "text"), stage("new", "text"), stage("none")
        worker = workers(cast(Any, [old]), pool)[0]
        found = [
            Pending(i, "A", 0, msgspec.structs.replace(news(0.0), document_id=name))
            for i, name in enumerate(("done", "refused", "runs", "waits"))
        ]
        lane = cast(
            Any,
            SimpleNamespace(
                sequencer=SimpleNamespace(buffers={"news": found}),
                status=SimpleNamespace(level=0),
                wake=lambda: None,
            ),
        )
        worker.lanes[0] = lane
        for message in found:
            worker._encode(lane, message, old)
        await asyncio.to_thread(running.wait)
        await asyncio.sleep(0.01)
        assert [message.ready is not None and message.ready() for message in found] == [True, True, False, False]
        worker._begin(0, lane, new)
        await asyncio.sleep(0)  # the pool hears of it
        assert not any(message.ready is not None and message.ready() for message in found)
        holding.set()
        assert [await message.embedding() for message in found if message.embedding] == [
            "new done", "new refused", "new runs", "new waits",
        ]  # fmt: skip
        assert "old waits" not in told
        worker._begin(0, lane, textless)
        assert not any(message.ready or message.embedding for message in found)
        gc.collect()  # a refusal that nobody asked for would be complained of here
        del worker.lanes[0]
        worker._begin(0, lane, new)  # of a lane that was given back nothing is encoded
        assert not any(message.embedding for message in found)


async def test_a_lane_that_ends_instead_of_swapping_holds_nobody_up() -> None:
    old, new = (SimpleNamespace(topics=(), decides=Decides(name, name), agent=None, under=None) for name in ("a", "b"))
    worker = workers(cast(Any, [old]))[0]

    async def ends() -> None:
        await asyncio.sleep(0.01)

    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    worker.lanes[0] = cast(Any, SimpleNamespace(swap=lambda *_: never))
    worker._tasks[0] = asyncio.create_task(ends())
    async with asyncio.timeout(60):
        await worker.swap(cast(Any, new))
    assert worker.stage is new


def test_an_error_that_is_no_sentence_of_ours_is_refused_too(thread: Executor) -> None:
    def load(before: Stages) -> Stages:
        raise RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF")

    serving = cast(Any, SimpleNamespace(about={"bundle": "b"}))
    swaps = Swaps(serving, load, workers=[], metrics=Metrics(), thread=thread)
    with capture_logs() as logged:
        asyncio.run(swaps.swap())
    assert logged[0]["reason"] == "RuntimeError: [ONNXRuntimeError] : 7 : INVALID_PROTOBUF"


def test_startup_errors_are_told_as_they_are(thread: Executor) -> None:
    def load(before: Stages) -> Stages:
        raise StartupError("x is no bundle: build one")

    swaps = Swaps(cast(Any, SimpleNamespace(about={"bundle": "b"})), load, workers=[], metrics=Metrics(), thread=thread)
    with capture_logs() as logged:
        asyncio.run(swaps.swap())
    assert logged[0]["reason"] == "x is no bundle: build one"


def test_a_registry_that_is_away_is_to_be_asked_again_and_refuses_nothing(thread: Executor) -> None:
    serving = cast(Stages, SimpleNamespace(about={"bundle": "old"}))

    def load(before: Stages) -> Stages:
        raise FolderError("models, the registry, is not there")

    metrics = Metrics()
    swaps = Swaps(serving, load, workers=[], metrics=metrics, thread=thread)
    with capture_logs() as logged:
        assert not asyncio.run(swaps.swap())
    assert (logged[0]["event"], logged[0]["reason"]) == (
        "the model cannot be fetched, the old bundle serves on",
        "models, the registry, is not there",
    )
    assert swaps.serving is serving
    assert not counted(metrics, "refused")


def test_labels_are_promoted_and_rolled_back_as_any_model_is(
    tmp_path: Path,
    thread: Executor,
    made: tuple[Path, str],  # noqa: F811
) -> None:
    registry = Registry(tmp_path / "models")
    model = registry.add(DEFAULT, "cyber", labels=made[0].parent, author="", reason="", origin="", now_ns=0)
    settings = Settings(registry=registry.where, cache=tmp_path / "cache")
    champion, metrics = Champion(settings, lambda: None), Metrics()
    load = loading(champion)
    serving = load(None)
    swaps = Swaps(serving, load, workers=workers(serving), metrics=metrics, thread=thread)
    told = []
    for offset, back in enumerate((False, True)):
        promotion = Promotion(
            model="" if back else model.id,
            name="cyber",
            change="rollback" if back else "promotion",
            previous="",
            published_ns=0,
            author="me",
            reason="",
        )
        champion.take(Promoted(offset, promotion))
        asyncio.run(swaps.swap())
        told.append((swaps.serving.about["bundle"], swaps.serving.about["labels"]))
    assert told == [(model.bundle, ["cyber"]), (model.bundle, [])]
    assert b'tocsin_bundle_swaps_total{result="swapped"} 2.0' in metrics.expose()
