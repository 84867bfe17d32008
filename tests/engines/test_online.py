"""Members that learn as they go: one contract for all, and an ensemble that follows the better one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engines.online import Forest, Logistic, Member, Online

MEMBERS: dict[str, Callable[[], Member]] = {"logistic": Logistic, "forest": lambda: Forest(trees=3)}


def stream(n: int, seed: int = 1) -> list[tuple[dict[str, float], bool]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return [({"a": float(a), "b": float(b)}, bool(a > 0.3)) for a, b in x]


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_learns_what_can_be_learnt_and_says_the_same_again(name: str) -> None:
    def played() -> list[float]:
        member, said = MEMBERS[name](), []
        for features, risk in stream(300):
            said.append(member.told(features))
            member.learn(features, risk, 1.0)
        return said

    said = played()
    assert all(0 <= share <= 1 for share in said)
    right = [(share > 0.5) == risk for share, (_, risk) in zip(said, stream(300), strict=True)]
    assert np.mean(right[150:]) > 0.85
    assert played() == said


class Says:
    """A member that always says the same."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.learnt: list[tuple[bool, float]] = []

    def told(self, features: object) -> float:
        return self.share

    def learn(self, features: object, risk: bool, weight: float) -> None:
        self.learnt.append((risk, weight))


def test_the_ensemble_goes_with_who_was_right_of_late() -> None:
    online = Online({"yes": Says(0.9), "no": Says(0.1)}, memory=20)
    for number in range(60):
        online.tell(str(number), {})
        assert online.learn(str(number), risk=number < 30)
        if number == 29:
            assert online.weights["yes"] > 0.95
    assert online.weights["no"] > 0.95
    assert sum(online.weights.values()) == pytest.approx(1)


def test_labels_come_late_or_never_and_count_once() -> None:
    member = Says(0.5)
    online = Online({"one": member}, waiting=2)
    for key in ("a", "b", "c"):
        online.tell(key, {"x": 1.0})
    assert not online.learn("a", risk=True), "forgotten: only two may wait"
    assert not online.learn("never told", risk=True)
    assert online.learn("c", risk=True, weight=4.0)
    assert not online.learn("c", risk=False), "a second label of the same"
    assert member.learnt == [(True, 4.0)]


def test_what_is_not_finite_is_refused_and_changes_nothing() -> None:
    online = Online({"logistic": Logistic()})
    with pytest.raises(ValueError, match="found x of k not to be"):
        online.tell("k", {"x": float("nan"), "y": 1.0})
    assert not online.learn("k", risk=True)
    with pytest.raises(ValueError, match="expected members"):
        Online({})
