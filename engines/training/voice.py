"""Trains the voice encoder that ships on simulated voices alone, and says what it reaches on people it never heard.

    python -m engines.training.voice --out build/voice --hear ../shared/data/speech_fsdd

``--hear`` only tells what the trained encoder makes of a folder of real, calm speech: nothing is learnt from it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engines import audio
from engines.bundle import FORMAT, Bundle, Entry, Manifest, Part, Source, sha256_of
from engines.inference import ORT_CPU
from engines.simulator import voices
from engines.training.encoder import OPSET
from engines.training.export import onnx_of
from engines.training.measures import BINARY, Measure, gain, judge
from engines.training.models import voice as network
from engines.voice import MODEL, SPEC, VoiceEncoder, VoiceSpec, level

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CALM, STRESSED = (0.0, 0.35), (0.65, 1.0)  # of the simulator's stress in [0, 1]: what lies between is not labelled
SECONDS = (1.0, 3.0)
WORDLESS = 0.05  # of what is learnt: noise or nothing, whose label is chance, so that it moves no score
PROBES = [1, 2, 3]
MEASURES: dict[str, Measure] = {
    "accuracy": lambda y, p: float(np.mean(p.argmax(1) == y)),
    **{name: BINARY[name] for name in ("auc", "brier", "ece")},
}
SPLIT_RULE = (
    "By speaker: every simulated speaker is in one part only. Each clip has a line, a stress and a length of its own. "
    "Intervals draw whole speakers."
)
SOURCE = Source(
    name="simulated voices",
    stage="training",
    origin="engines/simulator/voices.py",
    licence="Apache-2.0",
    may_train_what_ships=True,
    window="none: made by a formula",
    sha256={"engines/simulator/voices.py": sha256_of(Path(voices.__file__))},
    note="No recording of a person is among them.",
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many speakers are made for each part, how many clips each of them says, and how long is learnt."""

    train: int = 1_500
    calibration: int = 500
    test: int = 1_500
    clips: int = 2
    epochs: int = 10


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """Clips of one part: levels float32 (n, 1, mel, time), ``stressed`` (n,), ``speaker`` (n,).

    ``statistics`` (n, 2 * mel) are each band's mean and deviation over time, log10 of power.
    """

    levels: npt.NDArray[np.float32]
    stressed: npt.NDArray[np.bool_]
    speaker: Ints
    statistics: Floats


def train(seed: int, progress: Progress, schedule: Schedule = Schedule()) -> tuple[bytes, VoiceSpec, Part]:
    """Return voice.onnx, what voice.json holds, and what the encoder and its baselines reach on the test part."""
    sizes = {"train": schedule.train, "calibration": schedule.calibration, "test": schedule.test}
    bar = progress.add_task("voice: speaking", total=sum(sizes.values()))
    parts: dict[str, Clips] = {}
    for number, (name, count) in enumerate(sizes.items()):
        parts[name] = spoken([seed, number], count, schedule.clips, WORDLESS if name == "train" else 0.0)
        progress.advance(bar, count)
    heard, later, test = parts.values()
    bar = progress.add_task("voice: learning", total=schedule.epochs)
    model = network.fit(heard.levels, heard.stressed, schedule.epochs, seed, lambda: progress.advance(bar))
    fitted = LogisticRegression(C=1e6).fit(network.logits(model, later.levels)[:, None], later.stressed)  # Platt 1999
    spec = VoiceSpec(
        dim=network.DIM,
        frames=network.FRAMES,
        decades=network.DECADES,
        slope=float(fitted.coef_[0, 0]),
        intercept=float(fitted.intercept_[0]),
        probes=PROBES,
    )
    graph = onnx_of(model, {"level": torch.from_numpy(test.levels[:2])}, ["vector", "logit"])
    p = 1.0 / (1.0 + np.exp(-(spec.slope * network.logits(model, test.levels) + spec.intercept)))  # (clip,)
    return graph, spec, _report(parts, np.stack([1.0 - p, p], 1), seed)


def spoken(key: list[int], speakers: int, clips: int, wordless: float) -> Clips:
    """Return ``clips`` of each of so many simulated speakers; ``key`` and a speaker's number are the seed of each."""
    count = speakers * clips
    levels = np.empty((count, 1, audio.MELS, network.FRAMES), np.float32)
    stressed, statistics = np.empty(count, np.bool_), np.empty((count, 2 * audio.MELS))
    for row in range(count):
        number, clip = divmod(row, clips)
        if not clip:
            rng = np.random.default_rng([*key, number])
            who = voices.speaker(rng)
        stressed[row] = rng.random() < 0.5
        stress = float(rng.uniform(*(STRESSED if stressed[row] else CALM)))
        seconds = float(rng.uniform(*SECONDS))
        if rng.random() < wordless:
            samples = 10.0 ** rng.uniform(-4.5, -1.0) * rng.standard_normal(int(seconds * audio.SAMPLE_RATE_HZ))
        else:
            samples = voices.speak(rng, who, voices.line(rng), stress, seconds) / 2.0**15  # (sample,)
        seen = audio.log_mel(samples)  # (frame, mel)
        levels[row, 0] = level(seen, network.FRAMES, network.DECADES)
        statistics[row] = np.concatenate([seen.mean(axis=0), seen.std(axis=0)])
    return Clips(levels, stressed, np.repeat(np.arange(speakers), clips), statistics)


def _report(parts: dict[str, Clips], told: Floats, seed: int) -> Part:
    heard, test = parts["train"], parts["test"]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    linear.fit(heard.statistics, heard.stressed)
    share = float(heard.stressed.mean())
    truth = test.stressed.astype(np.int64)
    contenders = {
        "voice encoder": told,
        "band statistics + logistic": np.asarray(linear.predict_proba(test.statistics)),
        "prevalence": np.tile([1.0 - share, share], (len(truth), 1)),
    }
    metrics = {name: judge(MEASURES, truth, p, test.speaker, seed) for name, p in contenders.items()}
    added = gain(MEASURES["auc"], truth, told, contenders["band statistics + logistic"], test.speaker, seed)
    metrics["gain over band statistics"] = {"auc": added}
    return Part(
        task=f"a simulated voice is under a stress of {STRESSED[0]:g} or more, not of {CALM[1]:g} or less",
        split={name: len(part.stressed) for name, part in parts.items()},
        split_rule=SPLIT_RULE,
        metrics=metrics,
        notes=[
            "Never heard a real voice: it was trained, calibrated and tested on engines/simulator/voices.py alone. The "
            "figures say that it hears what that simulator does to a voice, and nothing of people.",
            "Real stress may sound otherwise, or like something else: a lively speaker, a cold, a bad line. Its weight "
            "in the fused risk is therefore 0.",
            "A score is calibrated where stressed and calm voices are equally frequent, as they are here.",
        ],
    )


def write(out: Path, graph: bytes, spec: VoiceSpec) -> Bundle:
    """Write the two files into ``out`` and return them as a bundle of nothing else, which only serves to listen."""
    out.mkdir(parents=True, exist_ok=True)
    (out / MODEL).write_bytes(graph)
    (out / SPEC).write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=1))
    files = {name: Entry(sha256_of(out / name), (out / name).stat().st_size) for name in (MODEL, SPEC)}
    return Bundle(
        out,
        Manifest(
            format=FORMAT, name="voice", code_version="", opset=OPSET, seed=0, files=files, lineage=[SOURCE], parts={}
        ),
        digest="",
    )


def hear(encoder: VoiceEncoder, folder: Path, most: int = 20) -> dict[str, float]:
    """Return the score of ``most`` WAV clips of a folder, drawn at random, and of its FLAC files, by file name."""
    clips = np.random.default_rng(0).permutation(sorted(folder.glob("*.wav")))
    chosen = [*sorted(clips[:most]), *sorted(folder.glob("*.flac"))]
    scores = {}
    for path in chosen:
        sound = audio.decode(path.read_bytes(), media := f"audio/{path.suffix[1:]}", audio.SAMPLE_RATE_HZ, 1)
        scores[path.name] = encoder.encode(path.read_bytes(), media, sound.rate_hz, 1).score
    return scores


def main() -> None:
    """Train, write, tell."""
    parser = argparse.ArgumentParser(prog="engines.training.voice", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help=f"folder for {MODEL} and {SPEC}")
    parser.add_argument("--hear", type=Path, help="folder of real speech to tell the scores of")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with Progress() as progress:
        graph, spec, part = train(chosen.seed, progress)
    bundle = write(chosen.out, graph, spec)
    print(json.dumps(msgspec.to_builtins(part), indent=1))
    if chosen.hear:
        print(json.dumps(hear(VoiceEncoder(bundle, [ORT_CPU]), chosen.hear), indent=1))


if __name__ == "__main__":
    main()
