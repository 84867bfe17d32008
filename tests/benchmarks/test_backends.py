"""docs/backends.md says what was executed, and never more."""

from __future__ import annotations

import msgspec

from benchmarks.backends import NEVER, Compiled, Ran, Record, merged, page
from tests.conftest import ROOT

PLAN = Compiled(
    flavour="tensorrt-rtx",
    version="1.7",
    model="encoder.onnx",
    compute_capability="8.9",
    precision="fp32",
    size=48_000_000,
    seconds=1.0,
    equal=True,
    when="2026-01-01",
)
ABSENT = Ran(backend="tensorrt-rtx", precision="fp32", device="", reason="no CUDA driver", when="2026-01-01")
THERE = Ran(
    backend="tensorrt-rtx",
    precision="fp32",
    device="Some GPU",
    version="1.7",
    deserialised=True,
    executed=True,
    difference=2e-6,
    p50_ms=0.4,
    load=1.5,
    when="2026-02-02",
)


def row(record: Record, device: str) -> list[str]:
    (found,) = [line for line in page(record).splitlines() if line.startswith("| tensorrt-rtx") and device in line]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_a_plan_that_no_gpu_ran_is_called_built_not_executed() -> None:
    cells = row(Record([ABSENT], [PLAN]), "none")
    assert cells[4:] == ["yes", "no", NEVER, "–", "–", "–", "2026-01-01"]
    assert "- tensorrt-rtx fp32: no CUDA driver" in page(Record([ABSENT], [PLAN]))


def test_what_was_executed_elsewhere_stays_and_takes_the_place_of_what_was_not() -> None:
    before = Record([ABSENT], [PLAN])
    with_gpu = merged(before, Record([THERE], []))
    assert with_gpu == Record([THERE], [PLAN])
    assert merged(with_gpu, before) == with_gpu
    assert row(with_gpu, "Some GPU")[4:] == ["yes", "yes", "yes", "2.0e-06", "0.40", "1.5", "2026-02-02"]


def test_a_back_end_that_ran_and_was_refused_by_the_gate_says_so() -> None:
    refused = msgspec.structs.replace(THERE, reason="differs from the reference by 0.1, allowed is 0.0001")
    cells = row(Record([refused], [PLAN]), "Some GPU")
    assert cells[6:9] == ["yes", "failed: differs from the reference by 0.1, allowed is 0.0001", "–"]


def test_the_page_is_what_its_record_says() -> None:
    record = msgspec.json.decode((ROOT / "docs" / "backends.json").read_bytes(), type=Record)
    assert (ROOT / "docs" / "backends.md").read_text() == page(record)
