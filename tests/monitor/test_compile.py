"""`tocsin compile` and `tocsin engines`, as a person calls them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from engines import cuda
from engines.inference import ORDER, ORT_CPU
from engines.plans import PLANS
from monitor.cli import app
from monitor.commands.engines import Found
from monitor.settings import load
from tests.engines.bundles import write_bundle


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    given = {f"TOCSIN_{name.upper()}": value for name, value in environment.items()} | {"COLUMNS": "200"}
    result = CliRunner(env=given).invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


#: The models of the bundle that ships.
MEMBERS = ("chart.onnx", "credit.onnx", "encoder.onnx", "fusion.onnx", "order_flow.onnx", "voice.onnx")


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (extra: rtx)", exc_type=ImportError)


@pytest.mark.slow
@pytest.mark.usefixtures("rtx")
def test_a_plan_is_built_once_and_then_there(tmp_path: Path) -> None:
    command = ("compile", "--compute-capability", "8.9", "--precision", "fp16", "--cache", str(tmp_path))
    code, output, _ = run(*command)
    assert code == 0, output
    for member in MEMBERS:
        assert f"✓ {member}: tensorrt-rtx" in output
    assert "compute capability 8.9, fp16: built in" in output
    assert "none was executed here" in output
    code, again, _ = run(*command[:-2], cache=str(tmp_path))
    assert (code, "was there" in again) == (0, True)
    plan, *others = (tmp_path / PLANS).glob("*.plan")
    assert len(others) == len(MEMBERS) - 1
    plan.write_bytes(b"")
    _, mended, _ = run(*command)
    assert "built in" in mended
    assert f"({plan.name} is corrupt: 0 bytes" in mended


@pytest.mark.slow
@pytest.mark.usefixtures("rtx")
def test_a_gpu_that_cannot_do_it_is_told_and_fails(tmp_path: Path) -> None:
    code, output, _ = run("compile", "--compute-capability", "7.5", "--cache", str(tmp_path))
    assert code == 1
    assert "✗ encoder.onnx: " in output
    assert "FP32 GEMM is not supported" in output
    assert f"0 of {len(MEMBERS)} plans" in output


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--compute-capability", "9.0"], "does not build for compute capability 9.0, but for 7.5"),
        (["--compute-capability", "8.9", "--precision", "int4"], "unknown precision int4; expected fp32 or fp16"),
        (["--compute-capability", "8.9", "--flavour", "rtx"], "unknown flavour rtx; expected tensorrt or tensorrt-rtx"),
        (["--compute-capability", "8.9", "--bundle", "/nowhere"], "/nowhere is no bundle"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    code, output, said = run("compile", *arguments, "--cache", str(tmp_path / "cache"))
    assert (code, output) == (2, "")
    assert said.startswith("tocsin: ")
    assert sentence in said
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("rtx")
def test_without_a_gpu_the_compute_capabilities_to_choose_from_are_named(tmp_path: Path) -> None:
    try:
        pytest.skip(f"a GPU is here: {cuda.device().name}")
    except cuda.CudaError:
        code, _, said = run("compile", "--cache", str(tmp_path))
    assert code == 2
    assert "There is no GPU here to build for" in said
    assert "7.5, 8.0, 8.6, 8.9, 12.0, 12.1 or all" in said


@pytest.mark.slow
def test_engines_tells_of_every_back_end_in_order_and_which_serves(tmp_path: Path) -> None:
    code, output, _ = run("engines", "--json", "--runs", "2", "--cache", str(tmp_path))
    assert code == 0
    found = msgspec.json.decode(output, type=list[Found])
    assert [one.backend for one in found] == list(ORDER)
    (chosen,) = [one for one in found if one.chosen]
    here = [one for one in found if not one.reason]
    assert chosen == here[0]
    assert here[-1].backend == ORT_CPU
    assert all(one.version and one.p50_ms > 0 and one.open_s > 0 for one in here)
    assert all(one.difference == 0 and not one.version for one in found if one.reason)


@pytest.mark.long
def test_engines_shows_a_person_reasons_and_the_choice(tmp_path: Path) -> None:
    code, output, _ = run("engines", "--runs", "1", cache=str(tmp_path))
    assert code == 0
    assert "from the reference" in output
    assert "– tensorrt: " in output or "✓ tensorrt serves: " in output
    assert " serves: the " in output


def test_engines_of_a_bad_bundle_is_one_sentence(tmp_path: Path) -> None:
    code, _, said = run("engines", "--bundle", str(tmp_path))
    assert code == 2
    assert f"{tmp_path} is no bundle" in said
    code, _, said = run("engines", "--bundle", str(write_bundle(tmp_path / "small")))
    assert code == 2
    assert "text.json" in said


def test_the_cache_is_where_the_system_keeps_what_can_be_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TOCSIN_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/desk")
    assert load().cache == Path("/var/cache/desk/tocsin")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert load().cache == tmp_path / ".cache" / "tocsin"
    monkeypatch.setenv("TOCSIN_CACHE", "/srv/plans")
    assert load().cache == Path("/srv/plans")
