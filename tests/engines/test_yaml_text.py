"""YAML of people is read within bounds."""

from __future__ import annotations

import pytest
import yaml

from engines.yaml_text import load


def test_aliases_are_followed() -> None:
    assert load("a: &a [1, 2]\nb: *a\n") == {"a": [1, 2], "b": [1, 2]}
    assert load("") is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param(
            "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
            "aliases repeat more than 10,000 values",
            id="a billion laughs",
        ),
        pytest.param("&a [*a]", "an alias stands within what it names", id="a list in itself"),
        pytest.param("[" * 5_000, "nest less deep", id="no end of brackets"),
        pytest.param("at: 2026-13-45", "month must be in", id="a month 13"),
        pytest.param("!!python/object/apply:os.system [ls]", "could not determine a constructor", id="an object"),
        pytest.param("? [a]\n: 1", "unhashable key", id="a list as a key"),
    ],
)
def test_what_unfolds_without_end_or_makes_objects_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(yaml.YAMLError, match=wrong):
        load(text)
