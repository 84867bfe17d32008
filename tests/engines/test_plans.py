"""Plans: built for each GPU that TensorRT-RTX knows, without one; kept; refused when stale or corrupt; built anew."""

from __future__ import annotations

import errno
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engines import plans
from engines.bundle import Bundle
from engines.plans import Key, PlanError, PlanRefused, Sidecar, kept, key_of, obtain, read
from tests.conftest import ROOT

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (extra: rtx)", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: train)")
RTX = "tensorrt-rtx"
#: 7.5 multiplies no matrices in fp32; TensorRT-RTX refuses them there.
BUILDS = [
    (c, p) for c in ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1") for p in ("fp32", "fp16") if (c, p) != ("7.5", "fp32")
]

#: A plan's key that no builder was asked for.
SOME = Key(
    onnx="0" * 64, flavour=RTX, version="1", driver="any", compute_capability="8.9", precision="fp32", profile={}
)  # fmt: skip


def model(rows: str = "batch") -> bytes:
    """Return the ONNX model y = relu(x w), x of shape (rows, 4)."""
    helper = onnx.helper
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["m"], "mul"), helper.make_node("Relu", ["m"], ["y"], "relu")],
            "small",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [rows, 4])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [rows, 4])],
            [onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    return bytes(made.SerializeToString(deterministic=True))


MODEL = model()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> plans.Plan:
    return obtain(MODEL, key_of(MODEL, RTX, "8.9"), tmp_path_factory.mktemp("plans"))


@pytest.fixture
def plan(built: plans.Plan, tmp_path: Path) -> plans.Plan:
    """Return a kept plan, in a folder of the test's own."""
    shutil.copytree(built.path.parent, tmp_path / "cache")
    return built._replace(path=tmp_path / "cache" / built.path.name)


@pytest.fixture(scope="module")
def encoder() -> bytes:
    return Bundle.load(ROOT / "bundles" / "default").read("encoder.onnx")


def test_the_api_knows_the_compute_capabilities_that_are_tested() -> None:
    assert plans.supported(RTX) == sorted({capability for capability, _ in BUILDS}, key=lambda c: float(c))


@pytest.mark.long
@pytest.mark.parametrize(("capability", "precision"), BUILDS)
def test_the_encoder_is_built_for_every_gpu_twice_the_same(
    encoder: bytes, capability: str, precision: str, tmp_path: Path
) -> None:
    key = key_of(encoder, RTX, capability, precision)
    first, second = obtain(encoder, key, tmp_path), obtain(encoder, key, tmp_path, anew=True)
    assert first.built
    assert second.built
    assert first.content == second.content
    assert len(first.content) > 30_000_000


@pytest.mark.slow
def test_the_encoder_is_built_with_its_profile_in_half_precision_smaller(encoder: bytes, tmp_path: Path) -> None:
    full, half = (obtain(encoder, key_of(encoder, RTX, "12.0", precision), tmp_path) for precision in plans.PRECISIONS)
    assert full.key.profile == {"batch": (1, 6, 32), "time": (16, 32, 128)}
    assert 30_000_000 < len(half.content) < 0.8 * len(full.content)


@pytest.mark.slow
def test_what_the_gpu_cannot_multiply_is_refused_with_the_builders_reason(encoder: bytes, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"capability 7\.5, fp32: the builder refuses: .*FP32 GEMM is not supported"):
        obtain(encoder, key_of(encoder, RTX, "7.5"), tmp_path)
    assert kept(tmp_path) == []


def test_a_rebuild_gives_equal_bytes(plan: plans.Plan) -> None:
    again = obtain(MODEL, plan.key, plan.path.parent, anew=True)
    assert again.built
    assert again.content == plan.content


def test_a_kept_plan_is_not_built_again(plan: plans.Plan) -> None:
    before = plan.path.stat()
    again = obtain(MODEL, plan.key, plan.path.parent)
    assert (again.built, again.refused, again.content) == (False, "", plan.content)
    assert plan.path.stat().st_ino == before.st_ino
    assert [sidecar.key for sidecar in kept(plan.path.parent)] == [plan.key]


def test_a_kept_plan_is_read_where_nothing_can_be_written(plan: plans.Plan) -> None:
    plan.path.with_suffix(".lock").unlink()
    assert not obtain(MODEL, plan.key, plan.path.parent).built
    assert not plan.path.with_suffix(".lock").exists()


def spoil(plan: plans.Plan, how: str) -> None:
    sidecar = plan.path.with_suffix(".json")
    if how == "truncated":
        plan.path.write_bytes(plan.content[:-1])
    elif how == "a byte changed":
        plan.path.write_bytes(plan.content[:-1] + bytes([plan.content[-1] ^ 1]))
    elif how == "sidecar cut":
        sidecar.write_bytes(sidecar.read_bytes()[:40])
    else:
        sidecar.unlink()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", r"sm89-fp32\.plan is corrupt: [\d,]+ bytes, its sidecar says [\d,]+"),
        ("a byte changed", r"sm89-fp32\.plan is corrupt: its SHA-256 is"),
        ("sidecar cut", r"sm89-fp32\.plan is corrupt: its sidecar does not read"),
        ("sidecar gone", r"sm89-fp32\.json is not there"),
    ],
)
def test_a_corrupt_plan_is_refused_by_name(plan: plans.Plan, how: str, reason: str) -> None:
    spoil(plan, how)
    with pytest.raises(PlanRefused, match=reason):
        read(plan.path, plan.key)


def test_a_corrupt_plan_is_built_anew_and_kept(plan: plans.Plan) -> None:
    spoil(plan, "truncated")
    again = obtain(MODEL, plan.key, plan.path.parent)
    assert again.built
    assert "sm89-fp32.plan is corrupt" in again.refused
    assert read(plan.path, plan.key) == again.content == plan.content


@pytest.mark.parametrize(
    ("part", "was", "reason"),
    [
        ("version", "1.6.0", "version 1.6.0 where 1.7"),
        ("driver", "12.4", "driver 12.4 where any"),
        ("onnx", "00", "onnx 00 where"),
        ("profile", {"batch": (1, 1, 1)}, "profile {'batch': "),
    ],
)
def test_a_stale_plan_is_refused_and_tells_what_differs(plan: plans.Plan, part: str, was: object, reason: str) -> None:
    made_for(plan, msgspec.structs.replace(plan.key, **{part: was}))
    with pytest.raises(PlanRefused, match=f"{plan.path.name} is stale: built for {reason}"):
        read(plan.path, plan.key)


def test_a_stale_plan_is_built_anew_in_its_place(plan: plans.Plan) -> None:
    made_for(plan, msgspec.structs.replace(plan.key, version="1.6.0"))
    again = obtain(MODEL, plan.key, plan.path.parent)
    assert "is stale: built for version 1.6.0" in again.refused
    assert [sidecar.key for sidecar in kept(plan.path.parent)] == [plan.key]


def made_for(plan: plans.Plan, key: Key) -> None:
    sidecar = plan.path.with_suffix(".json")
    found = msgspec.json.decode(sidecar.read_bytes(), type=Sidecar)
    sidecar.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, key=key)))


@pytest.mark.parametrize("how", ["gone", "truncated"])
def test_nothing_is_built_while_texts_wait(plan: plans.Plan, how: str) -> None:
    folder = plan.path.parent
    assert obtain(MODEL, plan.key, folder, may_build=False).content == plan.content
    shutil.rmtree(folder) if how == "gone" else spoil(plan, how)
    with pytest.raises(PlanError, match=r"(is not there|is corrupt: .*); nothing is built while texts wait"):
        obtain(MODEL, plan.key, folder, may_build=False)
    assert folder.exists() == (how != "gone")


def test_of_two_that_want_the_same_plan_one_builds_it(tmp_path: Path) -> None:
    key = key_of(MODEL, RTX, "8.6")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: obtain(MODEL, key, tmp_path), range(2)))
    assert sorted(plan.built for plan in both) == [False, True]
    assert both[0].content == both[1].content


def test_an_unsupported_compute_capability_is_refused_with_those_that_are() -> None:
    with pytest.raises(PlanError, match=r"does not build for compute capability 9\.0, but for 7\.5, 8\.0, 8\.6, 8\.9"):
        key_of(MODEL, RTX, "9.0")


def test_an_unknown_flavour_and_precision_are_refused_with_the_known() -> None:
    with pytest.raises(PlanError, match="unknown flavour trt; expected tensorrt or tensorrt-rtx"):
        key_of(MODEL, "trt", "8.9")
    with pytest.raises(PlanError, match="unknown precision int8; expected fp32 or fp16"):
        key_of(MODEL, RTX, "8.9", "int8")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (model(rows="rows"), "input x has a dimension rows of any size, the profile has batch, time: add it"),
        (b"no model", "the parser refuses"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_reason_and_leaves_nothing(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=reason):
        obtain(content, key_of(content, RTX, "8.9"), tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


def test_every_part_of_a_key_changes_its_digest(built: plans.Plan) -> None:
    key = built.key
    others = [
        msgspec.structs.replace(key, **{part: {"batch": (1, 1, 2)} if part == "profile" else "other"})
        for part in key.__struct_fields__
    ]
    assert len({key.digest, *(other.digest for other in others)}) == 1 + len(others) == 8


@pytest.mark.parametrize(("mode", "ours"), [(0o700, True), (0o755, True), (0o707, False), (0o777, False)])
def test_a_folder_that_others_may_write_to_keeps_no_plan(mode: int, ours: bool, tmp_path: Path) -> None:
    folder = tmp_path / "plans"
    folder.mkdir()
    folder.chmod(mode)
    told = "is not there; nothing is built" if ours else "may be written to by others"
    with pytest.raises(PlanError, match=told):
        plans.obtain(b"", SOME, folder, may_build=False)


def test_a_full_volume_keeps_no_half_of_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(_: bytes, __: Key, out: Path) -> None:
        out.write_bytes(b"plan")

    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plans, "build", lambda model, key, out: out.touch())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device"):
        obtain(b"", SOME, tmp_path)
    monkeypatch.undo()
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}
    monkeypatch.setattr(plans, "build", built)
    assert obtain(b"", SOME, tmp_path).content == read(tmp_path / SOME.name, SOME) == b"plan"
