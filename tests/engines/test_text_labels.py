"""A label's file and what it says of vectors, against the whole background that it keeps a part of."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from engines.conformal import p_values
from engines.few_shot import fit
from engines.text_labels import KEPT, LabelFile, TextLabel, make, score

RNG = np.random.default_rng(0)
EXAMPLES = RNG.normal(size=(12, 4)) + np.eye(4)[2] * 4
BACKGROUND = RNG.normal(size=(12_000, 4))


def made(background: int = 12_000, budget: float = 0.001, **changes: Any) -> LabelFile:
    file = make(
        name="cyber",
        title="A text is about an attack",
        severity="warning",
        budget=budget,
        bundle="b",
        encoder="e",
        examples=EXAMPLES,
        background=BACKGROUND[:background],
    )
    return msgspec.structs.replace(file, **changes)


def at(p_value: float) -> float:
    return score(p_value, 0.001)


def test_p_values_are_those_of_the_whole_background_where_it_is_rare_and_never_lower() -> None:
    label, head = TextLabel(made()), fit(EXAMPLES, BACKGROUND)
    assert len(label.file.statistics) <= KEPT < label.file.calibrated == 6_000
    statistics = np.sort(np.concatenate([head.quiet, head.quiet + 1e-9, [-100.0, 100.0]]))
    exact = p_values(head.quiet, statistics)
    told = np.array([label.p_value(float(one)) for one in statistics])
    rare = exact <= 1_000 / 6_001
    assert (told[rare] == exact[rare]).all()
    assert (told >= exact).all()
    assert float((told - exact).max()) < 0.002
    assert (told[0], told[-1]) == (1.0, 1 / 6_001)


def test_a_vector_rings_above_the_threshold_and_where_its_p_value_is_within_the_budget() -> None:
    for background, budget in ((64, 0.04), (2_000, 0.29), (12_000, 0.001), (12_000, 0.3), (12_000, 0.9)):
        label, head = TextLabel(made(background, budget)), fit(EXAMPLES, BACKGROUND[:background])
        for vector in RNG.normal(size=(300, 4)) * 2:
            found = label.judge(vector.astype(np.float32))
            rings = found.score >= label.spec.open
            assert rings == (found.statistic > label.file.threshold) == (found.p_value <= budget)
            assert rings == bool(head.alarms(vector.astype(np.float32)[None].astype(np.float64), budget)[0])


def test_its_severity_is_by_the_p_value_against_the_budget() -> None:
    spec = TextLabel(made(severity="info")).spec
    assert (spec.name, spec.version, spec.title, spec.opens_as) == (
        "label_cyber",
        "1",
        "A text is about an attack",
        "info",
    )
    assert at(0.0011) < spec.open == at(0.001) < at(0.0002) < spec.critical == at(0.0001)
    assert at(0.032) < spec.close < at(0.031)  # the root of 0.001 is 0.0316


def test_a_file_is_its_label_again_and_another_one_another_configuration() -> None:
    file = made()
    again = msgspec.json.decode(msgspec.json.encode(file), type=LabelFile)
    assert again == file
    assert TextLabel(again).digest == TextLabel(file).digest
    assert TextLabel(made(title="Other")).digest != TextLabel(file).digest


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2}, "it has format 2, this version of Tocsin reads format 1"),
        ({"name": "Cyber!"}, "'Cyber!' is no name"),
        ({"title": " "}, "its title is empty"),
        ({"budget": 0.0}, "its budget is 0"),
        ({"budget": 0.002}, r"a text at the threshold has p-value 0\.00116\d+, within the budget of 0.002"),
        ({"budget": 0.0005}, r"a text above the threshold has p-value 0\.00099\d+, not within the budget of 0.0005"),
        ({"examples": 5}, "it has 5 examples: expected 8 to 32"),
        ({"threshold": math.nan}, "not all of its numbers are finite"),
        ({"direction": [1.0, math.inf, 0.0, 0.0]}, "not all of its numbers are finite"),
        ({"direction": [0.0] * 4}, "its direction is 0 throughout"),
        ({"ranks": [1, 2]}, "it has 1998 statistics and 2 ranks"),
        ({"ranks": [], "statistics": []}, "expected 1 to 2000 of both"),
        ({"calibrated": 7_000}, "its ranks do not ascend from 1 to 7000"),
        ({"statistics": [float(i) for i in range(1_998)]}, "its statistics do not descend"),
    ],
)
def test_what_does_not_fit_together_is_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TextLabel(msgspec.structs.replace(made(), **changes))
