"""Simulated digits: a person's clips are alike, people differ, and words show what phonetics says of them."""

from __future__ import annotations

import numpy as np
import pytest

from engines.audio import MELS, mel_centres_hz
from engines.simulator.digits import WORDS, Person, person, say

HIGH = mel_centres_hz() > 3_000.0  # (mel,)


def some(count: int) -> list[Person]:
    rng = np.random.default_rng(3)
    return [person(rng)._replace(noise_db=-70.0, trim_db=50.0) for _ in range(count)]


def test_the_same_seed_says_the_same() -> None:
    first, second, other = (np.random.default_rng(seed) for seed in (1, 1, 2))
    said = say(first, person(first), "3")
    assert np.array_equal(said, say(second, person(second), "3"))
    assert not np.array_equal(said, say(other, person(other), "3")[: len(said)])


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_a_finite_spectrogram_of_a_words_length(word: str) -> None:
    rng = np.random.default_rng(5)
    for who in some(20):
        said = say(rng, who, word)
        assert said.shape[1] == MELS
        assert np.isfinite(said).all()
        assert 8 <= len(said) <= 250  # of 10 ms


def test_six_hisses_and_nine_does_not() -> None:
    """The share of power above 3 kHz is largest in an s, and an n and a vowel have little of it."""
    rng = np.random.default_rng(5)

    def hissing(word: str) -> float:
        shares = []
        for who in some(30):
            power = 10.0 ** say(rng, who, word)  # (frame, mel)
            shares.append(np.max(power[:, HIGH].sum(1) / power.sum(1)))
        return float(np.median(shares))

    assert hissing("6") > 2.0 * hissing("9")


def test_a_shorter_tract_has_higher_formants() -> None:
    rng = np.random.default_rng(5)
    centre = {}
    for tract in (0.9, 1.3):
        found = []
        for who in some(30):
            power = 10.0 ** say(rng, who._replace(tract=tract), "1").mean(axis=0)  # (mel,)
            found.append(np.sum(power * mel_centres_hz()) / power.sum())
        centre[tract] = np.median(found)
    assert centre[1.3] > 1.1 * centre[0.9]
