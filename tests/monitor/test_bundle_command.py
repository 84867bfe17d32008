"""`tocsin bundle`, and models of a registry that are signed there."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from engines.bundle import DEFAULT, Bundle
from monitor.cli import app
from monitor.errors import StartupError
from monitor.registry import Registry
from monitor.settings import Settings
from monitor.trust import UNSIGNED, vouched
from tests.engines.bundles import write_bundle


def called(*arguments: str | Path, **environment: object) -> tuple[int, str]:
    where = {f"TOCSIN_{name.upper()}": str(value) for name, value in environment.items()} | {"COLUMNS": "300"}
    result = CliRunner(env=where).invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def test_a_key_is_made_a_bundle_signed_and_verified(tmp_path: Path) -> None:
    key, public, bundle = tmp_path / "desk.key", tmp_path / "desk.pem", write_bundle(tmp_path / "b")
    code, told = called("bundle", "keygen", key)
    assert (code, f"{public} is its public key" in told) == (0, True), told
    code, told = called("bundle", "verify", bundle, bundle_trust=public)
    assert (code, f"tocsin bundle sign {bundle} --key KEY" in told) == (2, True), told
    code, told = called("bundle", "sign", bundle, "--key", key)
    assert (code, f"{bundle} is signed by" in told) == (0, True), told
    code, told = called("bundle", "verify", bundle, "--trust", public)
    assert (code, "6 files, vouched for by" in told) == (0, True), told
    code, told = called("bundle", "verify", DEFAULT)
    assert (code, told.endswith("vouched for by the release")) == (0, True), told


def test_what_cannot_be_signed_or_verified_is_one_sentence(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    for arguments, told in (
        (("sign", bundle), "No key is named to sign by: set TOCSIN_BUNDLE_KEY_FILE, or --key"),
        (("sign", bundle, "--key", tmp_path / "none"), "none cannot be read (No such file or directory)."),
        (("verify", tmp_path / "none"), "none is no bundle"),
        (("verify", bundle, "--trust", tmp_path / "none"), "TOCSIN_BUNDLE_TRUST: "),
        (("keygen", bundle), "is there already"),
    ):
        code, error = called("bundle", *arguments, allow_unsigned="true")
        assert (code, told in error) == (2, True), error


def test_what_nobody_signed_serves_by_a_setting_and_a_warning_alone(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "b"))
    with pytest.raises(StartupError, match="bears no signature: sign it"):
        vouched(bundle, Settings())
    with capture_logs() as logged:
        assert vouched(bundle, Settings(allow_unsigned=True)) == UNSIGNED
        assert vouched(Bundle.load(DEFAULT), Settings(allow_unsigned=True)) == "the release"
    ((level, reason),) = [(line["log_level"], line["reason"]) for line in logged]
    assert (level, reason) == ("warning", f"{bundle.path} bears no signature")


def test_a_model_of_a_registry_is_signed_there_and_who_has_it_already_learns_so(tmp_path: Path) -> None:
    place, key, bundle = tmp_path / "models", tmp_path / "desk.key", write_bundle(tmp_path / "b")
    called("bundle", "keygen", key)
    where = {"registry": place, "cache": tmp_path / "cache", "bundle_trust": tmp_path / "desk.pem"}
    code, told = called("models", "add", bundle, "--name", "december", **where)
    assert (code, "bears no signature): `tocsin models sign december --key KEY`" in told) == (0, True), told
    theirs = Registry(place).fetch("december", tmp_path / "worker").bundle
    settings = Settings(bundle_trust=tmp_path / "desk.pem")
    with pytest.raises(StartupError):
        vouched(Bundle.load(theirs), settings)
    code, told = called("models", "sign", "december", "--key", key, **where)
    assert (code, told.startswith("december (")) == (0, True), told
    for name in ("december", Registry(place).find("december").id):
        theirs = Registry(place).fetch(name, tmp_path / "worker").bundle
        assert vouched(Bundle.load(theirs), settings) == told.split()[-1]
    # Signed before it is added, it comes signed; with the registry away, what was fetched serves on.
    signed = write_bundle(tmp_path / "c", text_json=b"{ }")
    called("bundle", "sign", signed, "--key", key)
    code, told = called("models", "add", signed, "--name", "january", **where)
    assert (code, "sign" in told) == (0, False), told
    model = Registry(place).find("january").id
    Registry(place).fetch(model, tmp_path / "worker")
    place.rename(tmp_path / "away")
    assert vouched(Bundle.load(Registry(place).fetch(model, tmp_path / "worker").bundle), settings)
