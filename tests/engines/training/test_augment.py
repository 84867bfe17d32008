"""Copies of texts say what their texts say: numbers and tone stay, and so does the part that they are in."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: install the extra `train`")

import torch
from rich.progress import Progress
from transformers import MarianConfig, MarianMTModel

from engines.training.augment import SYNONYMS, Augmentation, AugmentError, swap, there_and_back

#: Words that say how it went, or what somebody should do.
TONE = set(
    re.findall(
        r"\w+",
        """
up down rise rises rose risen fall falls fell fallen gain gains loss losses profit profits beat beats miss
misses cut cuts raise raises raised grow grows grew growth shrink shrank drop drops dropped jump jumped surge
slump buy sell hold long short bull bullish bear bearish good bad strong weak firm high low higher lower more
less better worse increase increased decrease decreased improve improved decline declined upgrade downgrade
hike ease tight loose hawkish dovish accommodative not no never million billion percent pct bn mln share
shares
""",
    )
)
TEXTS = [
    "The company said that customers of 12 factories lost EUR 5.2m in 2009, down from $7m.",
    "COMPANY announced $GOOG #company https://company.com/said that profit did not rise",
    "Fed policymakers cut rates by 0.25 percent; Chief Executive Officer says no.",
    "Nothing here is known.",
]


def test_no_word_that_says_how_it_went_is_replaced_or_put_in() -> None:
    there = {word for known, others in SYNONYMS.items() for one in (known, *others) for word in one.lower().split()}
    # "firm" is put in as a company, with its article: it takes the place of no tone.
    assert there & TONE <= {"firm", "share"}
    assert not {word for known in SYNONYMS for word in known.split()} & TONE
    assert not any(re.search(r"\d", one) for known, others in SYNONYMS.items() for one in (known, *others))


def test_a_substitute_takes_the_same_article() -> None:
    vowel = [
        {one[0].lower() in "aeio" for one in (known, *others)}
        for known, others in SYNONYMS.items()
        # What is in the plural, or is no noun, has no article.
        if known in {"company", "corporation", "shareholder", "customer", "manufacturer", "lender", "factory"}
    ]
    assert vowel == [{False}] * 7


def test_synonyms_leave_numbers_tone_tags_and_links_and_change_the_rest() -> None:
    for seed in range(20):
        for old, new in zip(TEXTS, swap(TEXTS, np.random.default_rng(seed)), strict=True):
            for kept in (r"[\d.,]+\w*", r"[$#]\w+", r"https\S+", rf"\b(?:{'|'.join(sorted(TONE))})\b"):
                assert [w for w in re.findall(kept, new) if w not in ("firm", "share")] == re.findall(kept, old)
    changed = {new for seed in range(20) for new in swap(TEXTS[:1], np.random.default_rng(seed))}
    assert len(changed) > 5
    assert any(new.startswith("FIRM") for seed in range(20) for new in swap(TEXTS[1:2], np.random.default_rng(seed)))
    assert swap(TEXTS[3:], np.random.default_rng(0)) == TEXTS[3:]


def test_a_copy_knows_its_text_and_what_is_unchanged_is_no_copy() -> None:
    with Progress(disable=True) as progress:
        copies = Augmentation(synonyms=True).copies(TEXTS * 5, 0, progress)
        assert Augmentation().copies(TEXTS, 0, progress) == []
    assert {i % 4 for i, _ in copies} == {0, 1, 2}
    for i, copy in copies:
        assert copy != TEXTS[i % 4]
        assert re.findall(r"\d+", copy) == re.findall(r"\d+", TEXTS[i % 4])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Marian checkpoint of two small layers that have learnt nothing, laid out as a real one is."""
    spm = pytest.importorskip("sentencepiece", reason="Marian's tokenizer needs sentencepiece: the extra `train`")
    folder = tmp_path_factory.mktemp("marian")
    said = folder / "said.txt"
    # It knows no digits, so that none can come out of it.
    said.write_text("\n".join([*TEXTS[3:], "a company said that it is known by its shares"] * 20))
    spm.SentencePieceTrainer.train(
        input=str(said), model_prefix=str(folder / "source"), vocab_size=40, minloglevel=2, hard_vocab_limit=False
    )
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    pieces = [line.split("\t")[0] for line in (folder / "source.vocab").read_text().splitlines()]
    words = ["</s>", "<unk>", *(piece for piece in pieces if piece not in ("</s>", "<unk>", "<s>")), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    torch.manual_seed(0)
    last = len(words) - 1
    config = MarianConfig(
        vocab_size=len(words),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=256,
        pad_token_id=last,
        eos_token_id=0,
        decoder_start_token_id=last,
        forced_eos_token_id=0,
        bos_token_id=None,
    )
    MarianMTModel(config).save_pretrained(folder)
    return folder


def test_texts_go_through_two_checkpoints_and_those_that_lose_their_numbers_stay(checkpoint: Path) -> None:
    with Progress(disable=True) as progress:
        told = there_and_back(TEXTS, checkpoint, checkpoint, progress)
        again = there_and_back(TEXTS, checkpoint, checkpoint, progress)
        copies = Augmentation(translators=(checkpoint, checkpoint)).copies(TEXTS, 0, progress)
    assert told == again
    assert told[0] == TEXTS[0]  # a model that has learnt nothing keeps no numbers
    assert told[3] != TEXTS[3]
    assert (3, told[3]) in copies


def test_a_folder_without_a_checkpoint_is_refused_with_what_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with (
        Progress(disable=True) as progress,
        pytest.raises(AugmentError, match=r"is no Marian checkpoint: expected config\.json, .*, missing source\.spm"),
    ):
        there_and_back(TEXTS, checkpoint, tmp_path, progress)
