"""The entry points of the fuzzers hold on seeds and a few hundred mutations of them; `make fuzz` looks for more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, mutated

#: Inputs that once broke a decoder, by target.
FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_takes_or_refuses_whatever_comes(name: str) -> None:
    target, rng = TARGETS[name], random.Random(7)
    seeds = list(target.seeds())
    target.run(b"")
    for seed in seeds:
        target.run(seed)
    for _ in range(300):
        target.run(mutated(rng.choice(seeds), rng))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*")), ids=lambda path: path.name)
def test_what_once_broke_a_decoder_does_so_no_more(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]].run(path.read_bytes())
