"""Whether a bundle that was built anew decides as another does: its files, and what members say of the test parts.

    python -m engines.training.build --data ../shared/data --out build/rebuilt
    python -m benchmarks.rebuilt build/rebuilt --data ../shared/data

Compared are the text encoder on the bundle's test part of twitter_fin_news, the voice encoder on the simulated test
clips, the fused risk on the test days of stocknet, each bundle's text and chart encoders feeding its own fusion. Agreed
is at the score from which a typology opens (a voice: 0.5).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress

from benchmarks.harness import close, table
from engines import chart_encoder, voice
from engines.bundle import DEFAULT, Bundle
from engines.fusion import BLOCK, FusionModel
from engines.inference import ORT_CPU, open_session
from engines.text import TextSpec
from engines.training import chart, fusion, text
from engines.training import voice as voices
from engines.training.encoder import from_onnx
from engines.training.pretrained import minilm
from engines.typologies import adverse_text, elevated_risk

Floats = npt.NDArray[np.float64]

SEED = 0
TOGETHER = 200


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of the bundle that was built anew")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds twitter_fin_news and stocknet")
    parser.add_argument("--other", type=Path, default=DEFAULT, help="what it is compared with (default: what ships)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    pair = Bundle.load(chosen.other), Bundle.load(chosen.bundle)
    first, second = (bundle.manifest.files for bundle in pair)
    same = sorted(name for name, entry in first.items() if second.get(name) == entry)
    print(f"equal bytes: {', '.join(same) or 'none'}; others: {', '.join(sorted(set(first) - set(same)))}")
    lines, figures = [], {}
    members: dict[str, tuple[list[Floats], float]] = {
        "text": ([_texts(chosen.data, bundle) for bundle in pair], adverse_text.SPEC.open),
        "voice": ([_voices(bundle) for bundle in pair], 0.5),
        "fused risk": (_risks(chosen.data / "stocknet", pair), elevated_risk.SPEC.open),
    }
    for name, ((one, other), bound) in members.items():
        change, agreed = np.abs(one - other), float(np.mean((one >= bound) == (other >= bound)))
        flagged = f"{(one >= bound).sum()} and {(other >= bound).sum()}"
        lines.append(
            [name, len(one), f"{change.mean():.4f}", f"{change.max():.4f}", f"{agreed:.2%}", f"{flagged} from {bound}"]
        )
        figures[f"{name.replace(' ', '_')}_agreed"] = round(agreed, 5)
    table("scores of both", ("member", "rows", "mean change", "most", "same decision", "flagged"), lines)
    close(benchmark="rebuilt", bundle=pair[1].id, other=pair[0].id, **figures)


def _texts(data: Path, bundle: Bundle) -> Floats:
    """Return P(bearish) (n,) of the test part."""
    posts, _ = text.load_posts(data / "twitter_fin_news", SEED).of("test")
    rows = [encoding.ids for encoding in minilm().tokenizer().encode_batch(posts)]
    spec = msgspec.json.decode(bundle.read("text.json"), type=TextSpec)
    logits = text.predict(from_onnx(bundle.read("encoder.onnx")), rows)[1]
    return np.asarray(text.softmax(logits, spec.temperature)[:, 0])


def _voices(bundle: Bundle) -> Floats:
    """Return how probably each test clip is stressed, (n,)."""
    clips = voices.spoken([SEED, 2], voices.Schedule().test, voices.Schedule().clips, 0.0).levels
    spec = msgspec.json.decode(bundle.read(voice.SPEC), type=voice.VoiceSpec)
    run = open_session(bundle.read(voice.MODEL), [], [ORT_CPU]).run
    odds = np.concatenate([run({"level": clips[i : i + 50]})[1].ravel() for i in range(0, len(clips), 50)])
    return np.asarray(1 / (1 + np.exp(-(spec.slope * odds.astype(np.float64) + spec.intercept))))


def _risks(stocks: Path, pair: tuple[Bundle, Bundle]) -> list[Floats]:
    """Return the fused risk (n,) of the test days by each bundle."""
    days = fusion.load_days(stocks)
    test = np.flatnonzero(days.part == "test")
    pictures = chart.drawn(chart.windows(stocks, days).at(days.part == "test"))[:, None].astype(np.float32) / 255
    told = []
    for bundle in pair:
        run = open_session(bundle.read(chart_encoder.GRAPH), [], [ORT_CPU]).run
        chunks = [pictures[i : i + TOGETHER] for i in range(0, len(pictures), TOGETHER)]
        logits = np.zeros((len(days.part), 1), np.float32)
        logits[test] = np.concatenate([run({"charts": chunk})[1] for chunk in chunks])
        with Progress(disable=True) as progress:
            heard = fusion.heard(days, from_onnx(bundle.read("encoder.onnx")), minilm().tokenizer(), progress)
        nothing, never = np.zeros((len(logits), 0), np.float32), np.zeros(len(logits), np.int64)
        looked = fusion.Member(nothing, logits, np.ones(len(logits), np.bool_), never, aged=False)
        _, _, rows = fusion.rows_of(days, {"text": heard, "chart": looked})
        inputs = dict(
            zip(("x", "age", "present"), (part.numpy()[test] for part in (rows.x, rows.age, rows.present)), strict=True)
        )
        fill = -len(test) % BLOCK
        inputs = {name: np.concatenate([part, part[:fill]]) for name, part in inputs.items()}
        session = FusionModel(bundle).session
        answers = [
            session.run({name: part[i : i + BLOCK] for name, part in inputs.items()})[0][:, 0]
            for i in range(0, len(test) + fill, BLOCK)
        ]
        told.append(np.concatenate(answers)[: len(test)].astype(np.float64))
    return told


if __name__ == "__main__":
    main()
