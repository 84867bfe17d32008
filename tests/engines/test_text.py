"""The text encoder on the default bundle."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle, BundleError
from engines.inference import ORT_CPU
from engines.text import LABELS, MAX_VARIANTS, TextEncoder
from tests.conftest import ROOT
from tests.engines.bundles import write_bundle


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(Bundle.load(ROOT / "bundles" / "default"), [ORT_CPU])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Shares of Acme plunge 20% after it cuts its outlook and misses estimates", "bearish"),
        ("Acme downgraded to sell at Example Bank, price target cut", "bearish"),
        ("Acme beats estimates and raises its full-year guidance, shares jump", "bullish"),
        ("Acme upgraded to buy at Example Bank", "bullish"),
        ("Acme to present at an investor conference on Tuesday", "neutral"),
    ],
)
def test_plain_tone_is_read_as_a_person_reads_it(encoder: TextEncoder, text: str, label: str) -> None:
    encoded = encoder.encode(text)
    assert LABELS[int(np.argmax(encoded.logits))] == label
    assert (encoded.score > 0.5) == (label == "bearish")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\x00",
        "Acme\x00 falls",
        "😱📉",
        "\ud800 half a pair",
        "決算は予想を下回った",
        "x" * 100_000,
        "falls " * 100_000,
        "https://example.com/" + "a" * 5000,
        "[SEP] [MASK] [CLS] [PAD]",
    ],
    ids=["empty", "blank", "nul", "nul inside", "emoji", "surrogate", "cjk", "one word", "long", "link", "specials"],
)
def test_any_string_has_a_finite_vector_of_length_one_and_a_score(encoder: TextEncoder, text: str) -> None:
    encoded = encoder.encode(text)
    assert encoded.vector.shape == (384,)
    assert encoded.vector.dtype == np.float32
    assert encoded.logits.shape == (3,)
    assert encoded.logits.dtype == np.float32
    assert float(np.linalg.norm(encoded.vector)) == pytest.approx(1, abs=1e-5)
    assert 0 < encoded.score < 1
    assert len(encoder.explain(text, encoded)) <= MAX_VARIANTS


def test_links_and_handles_change_nothing(encoder: TextEncoder) -> None:
    plain = encoder.encode("Acme falls on weak demand")
    decorated = encoder.encode("Acme falls on weak demand https://t.co/abc @desk")
    assert plain.vector.tobytes() == decorated.vector.tobytes()


def test_a_special_token_in_a_text_is_text(encoder: TextEncoder) -> None:
    assert encoder.encode("[SEP]").vector.tobytes() != encoder.encode("").vector.tobytes()


def test_scores_average_to_the_share_of_bearish_posts(encoder: TextEncoder, data_dir: Path) -> None:
    with (data_dir / "twitter_fin_news" / "train.csv").open(newline="") as file:
        posts = list(csv.DictReader(file))[::40]
    told = np.mean([encoder.encode(post["text"]).score for post in posts])
    assert told == pytest.approx(np.mean([post["label"] == "0" for post in posts]), abs=0.05)


def test_the_word_that_carries_the_tone_weighs_most(encoder: TextEncoder) -> None:
    text = "Acme shares plunge in early trade"
    parts = encoder.explain(text, encoder.encode(text))
    assert [text[part.start : part.end] for part in parts] == text.split()
    heaviest = max(parts, key=lambda part: part.weight)
    assert text[heaviest.start : heaviest.end] == "plunge"


def test_a_long_text_is_explained_by_stretches_in_order_by_so_many_variants(encoder: TextEncoder) -> None:
    text = "The company reported results for the quarter on Monday. " * 3 + "Shares plunge. " + "Trading goes on. " * 5
    parts = encoder.explain(text, encoder.encode(text))
    assert len(parts) <= MAX_VARIANTS
    assert [part.start for part in parts] == sorted(part.start for part in parts)
    assert all(a.end <= b.start for a, b in itertools.pairwise(parts))
    heaviest = max(parts, key=lambda part: part.weight)
    assert "plunge" in text[heaviest.start : heaviest.end]


def test_labels_in_another_order_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = (
        b'{"labels":["bullish","bearish","neutral"],"temperature":1,"dim":384,"lengths":[],"max_chars":1,"probes":[]}'
    )
    bundle = Bundle.load(write_bundle(tmp_path_factory.mktemp("labels") / "bundle", text_json=spec))
    with pytest.raises(BundleError, match=r"has labels \['bullish'.*expected \['bearish', 'bullish', 'neutral'\]"):
        TextEncoder(bundle)


def test_a_tokenizer_with_more_words_than_the_encoder_is_refused_by_name(tmp_path: Path) -> None:
    default = Bundle.load(ROOT / "bundles" / "default")
    tokenizer = json.loads(default.read("tokenizer.json"))
    tokenizer["model"]["vocab"]["unheardof"] = (beyond := max(tokenizer["model"]["vocab"].values()) + 1)
    folder = write_bundle(
        tmp_path / "bundle",
        encoder_onnx=default.read("encoder.onnx"),
        tokenizer_json=json.dumps(tokenizer).encode(),
        text_json=default.read("text.json"),
    )
    with pytest.raises(BundleError, match=rf"encoder\.onnx does not take token id {beyond}, which tokenizer\.json has"):
        TextEncoder(Bundle.load(folder), [ORT_CPU])
