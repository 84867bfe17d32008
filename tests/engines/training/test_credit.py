"""The model of default as it is made: the graph says what the trees say, and a bundle takes it in alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from rich.progress import Progress

from engines.bundle import DEFAULT, Bundle
from engines.credit import kept_back, rounded
from engines.credit_model import GRAPH, SPEC
from engines.training import build, credit
from engines.training.build import Member


def test_the_graph_says_what_the_trees_say_calibrated() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, 6)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=2_000) > 0).astype(np.int64)
    trees = credit._trees(x, y)
    graph = credit.onnx_of(trees, 0.9, -0.2)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    # On a threshold a row goes left, with either; the float32 beside one is on its own side.
    edges = np.concatenate([one._predictors[0][0].nodes["num_threshold"] for one in trees]).astype(np.float32)
    near = [np.nextafter(edges, np.float32(end)) for end in (-np.inf, np.inf)]
    asked = np.vstack([x, *(np.tile(row[:, None], 6) for row in (edges, *near))])
    (told,) = session.run(None, {"features": asked})
    np.testing.assert_allclose(told[:, 0], 0.9 * credit._raw(trees, asked) - 0.2, rtol=0, atol=1e-6)
    assert {node.domain for node in onnx.load_from_string(graph).graph.node} == {""}


def test_near_copies_are_learnt_together_or_not_at_all() -> None:
    x = np.random.default_rng(0).normal(size=(500, 4)) * 10
    assert (kept_back(x) == kept_back(rounded(x) + 0.01)).all()
    assert 0.15 < kept_back(x).mean() < 0.25
    assert (kept_back(np.array([[0.0, 1.0]])) == kept_back(np.array([[-0.0, 1.0]]))).all()


def test_a_member_that_is_learnt_again_leaves_all_else_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Bundle.load(DEFAULT)
    part, source = before.manifest.parts["credit"], next(s for s in before.manifest.lineage if s.name == "credit")
    files = {GRAPH: before.read(GRAPH), SPEC: before.read(SPEC) + b"\n"}
    monkeypatch.setattr(build, "MEMBERS", {"credit": lambda data, progress: Member(files, part, source)})
    monkeypatch.setattr(build, "_require", lambda data, *names: None)
    shutil.copytree(DEFAULT, tmp_path / "default")
    build.renew(tmp_path, tmp_path / "default", "credit")
    after = Bundle.load(tmp_path / "default")
    changed = {name for name, entry in after.manifest.files.items() if entry != before.manifest.files.get(name)}
    assert changed == {SPEC}
    assert (after.manifest.parts, after.manifest.lineage) == (before.manifest.parts, before.manifest.lineage)


@pytest.mark.slow
def test_the_model_that_ships_is_what_its_data_make(data_dir: Path) -> None:
    with Progress(disable=True) as progress:
        graph, spec, part = credit.train(data_dir / "credit", build.SEED, progress)
    shipped = Bundle.load(DEFAULT)
    assert graph == shipped.read(GRAPH)
    assert part.metrics == shipped.manifest.parts["credit"].metrics
    assert spec.currency == "TWD"
    assert part.metrics["tocsin"]["auc"].value > part.metrics["logistic"]["auc"].value
