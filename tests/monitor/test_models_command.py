"""`tocsin models` where no broker is asked: what is put in, fetched, completed, and refused with a sentence."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from typer.testing import CliRunner

from engines.bundle import Bundle
from engines.text_labels import FORMAT, LabelFile
from monitor.cli import app
from monitor.commands.options import _models
from monitor.registry import Registry
from tests.engines.bundles import write_bundle


def called(*arguments: str, **environment: str) -> tuple[int, str]:
    where = {f"TOCSIN_{name.upper()}": value for name, value in environment.items()} | {"COLUMNS": "200"}
    result = CliRunner(env=where).invoke(app, ["models", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_a_bundle_is_put_in_completed_by_name_and_fetched(tmp_path: Path) -> None:
    where = {"registry": str(tmp_path / "models"), "cache": str(tmp_path / "cache")}
    bundle = write_bundle(tmp_path / "b")
    code, told = called("add", str(bundle), "--name", "december", "--author", "me", **where)
    assert (code, told.startswith(f"december is {Bundle.load(bundle).id} (7 files, ")) == (0, True), told
    code, told = called("fetch", "december", **where)
    assert code == 0
    assert Bundle.load(told).id == Bundle.load(bundle).id
    names = CliRunner(env={f"TOCSIN_{name.upper()}": value for name, value in where.items()})
    with names.isolation():
        assert (_models("dec"), _models("jan")) == (["december"], [])


def test_labels_of_another_encoder_are_refused_before_anything_is_put_in(tmp_path: Path) -> None:
    bundle, labels = write_bundle(tmp_path / "b"), tmp_path / "labels"
    labels.mkdir()
    (labels / "cyber.json").write_bytes(b"{}")
    where = {"registry": str(tmp_path / "models")}
    code, error = called("add", str(bundle), "--name", "december", "--labels", str(labels), **where)
    assert (code, "cyber.json is no label" in error) == (2, True), error
    label = LabelFile(
        format=FORMAT, name="cyber", title="Cyber", severity="warning", budget=0.05, bundle="b" * 12, encoder="another",
        examples=8, calibrated=100, threshold=0.5, direction=[1.0], statistics=[0.9, 0.5, 0.1], ranks=[1, 2, 100],
    )  # fmt: skip
    (labels / "cyber.json").write_bytes(msgspec.json.encode(label))
    code, error = called("add", str(bundle), "--name", "december", "--labels", str(labels), **where)
    assert (code, "was made with the text encoder another of bundle bbbbbbbbbbbb" in error) == (2, True), error
    assert Registry(tmp_path / "models").models() == []


def test_what_cannot_be_done_is_one_sentence(tmp_path: Path) -> None:
    where = {"registry": str(tmp_path / "models"), "cache": str(tmp_path / "cache")}
    for arguments, told in (
        (("fetch", "december"), "models holds no model december: expected one of none."),
        (("add", str(tmp_path / "none"), "--name", "december"), "manifest.json"),
        (("add", str(tmp_path / "none"), "--name", "12"), "'12' is no name: expected up to 40 of letters"),
        (("promote", "december"), "Missing option '--reason'"),
    ):
        code, error = called(*arguments, **where)
        assert (code, told in error) == (2, True), error
    code, error = called("fetch", "december")
    assert (code, "No registry is named: set TOCSIN_REGISTRY, or --registry" in error) == (2, True), error
    assert _models("dec") == []


@pytest.mark.parametrize("command", [("promote", "december", "--reason", "r", "--force"), ("review",)])
@pytest.mark.parametrize(
    ("mistake", "told"),
    [("--labels", "none.csv"), ("--policy", "none.yaml holds no policy"), ("--from", "--from")],
)
def test_a_mistake_in_what_is_asked_is_no_line_of_the_gate(
    tmp_path: Path, command: tuple[str, ...], mistake: str, told: str
) -> None:
    where = {"registry": str(tmp_path / "models"), "bootstrap": "127.0.0.1:1"}
    value = str(tmp_path / f"none.{'yaml' if mistake == '--policy' else 'csv'}")
    code, error = called(*command, mistake, value, **where)
    assert (code, told in error, "shadow" in error) == (2, True, False), error


def test_who_has_no_name_is_known_by_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> NoReturn:
        raise KeyError(uid)

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    place = tmp_path / "models"
    assert called("add", str(write_bundle(tmp_path / "b")), "--name", "december", registry=str(place))[0] == 0
    assert [model.author for model in Registry(place).models()] == [str(os.getuid())]
