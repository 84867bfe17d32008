"""A file of settings stands between the environment and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.errors import StartupError
from monitor.settings import load


def test_a_file_overrides_the_environment_and_the_command_line_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_GRACE_MS", "15000")
    monkeypatch.setenv("TOCSIN_FORGET_DAYS", "3")
    monkeypatch.setenv("TOCSIN_PREFIX", "env.")
    for name, text in [
        ("config.toml", 'grace_ms = 10000\nprefix = "file."\nlabels = "labels"\n'),
        ("config.yaml", "grace_ms: 10000\nprefix: file.\nlabels: labels\n"),
    ]:
        (tmp_path / name).write_text(text)
        settings = load(tmp_path / name, prefix="line.", bundle=None)
        assert (settings.grace_ms, settings.forget_days, settings.prefix) == (10_000, 3, "line.")
        assert settings.labels == tmp_path / "labels"  # beside the file, wherever the command is called


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("grace_ms = 7", r"grace_ms in .*config.toml is 7: input should be a multiple of 5000"),
        ("grace = 5000", r"grace in .*config.toml is no setting: grace_ms is meant\?"),
        ("colour = 1", r"colour in .*config.toml is no setting: `tocsin check-config` lists them"),
        ("grace_ms", r"config.toml cannot be read \(.*\): expected settings in TOML, or YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(StartupError, match=sentence):
        load(path)


def test_a_file_without_settings_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("- grace_ms\n")
    with pytest.raises(StartupError, match="holds no settings: expected lines such as `grace_ms = 10000`"):
        load(path)
    with pytest.raises(StartupError, match=r"gone.toml cannot be read"):
        load(tmp_path / "gone.toml")
