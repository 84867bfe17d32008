"""Fusion: at a bar's close and at a new embedding, what is kept of each modality becomes one risk score."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence

import numpy as np
import numpy.typing as npt

from agents.flow import SHED_AT, Heard, Item, Lapsed, Scored, Ticked
from agents.instrument_state import InstrumentState
from engines.fusion import TICKS, Fused, FusionModel, Kept
from engines.tracks import ClosedBars, Embedding, Track
from engines.typologies import elevated_risk
from schemas.alerts import Attribution, Explanation, RuleResult
from schemas.journal import RULES_ONLY, Ladder
from schemas.records import Score

Ints = npt.NDArray[np.int64]
#: What is kept, by the model's modality: which of the alert's modalities it is, and its embedding.
Held = Mapping[str, tuple[str, Embedding]]

#: What a modality came by, and how a place in it is named.
PLACES = {
    "text": ("news", "chars"),
    "calls": ("transcripts", "chars"),
    "chart": ("charts", "columns"),
    "audio": ("audio", "ms"),
}
#: What the score of a modality that has no typology of its own is called.
HEADS = {"chart": "chart_risk", "audio": "voice_stress"}
#: All that a record of scores may name.
SCORES = ("market_anomaly", "elevated_risk", "adverse_text", *HEADS.values())
#: Places that an explanation names of each modality, those that weigh most.
ATTRIBUTIONS = 2
#: The model's modality that hears what was said, whether it was written or spoken: whichever came last.
WORDS = ("text", ("text", "calls"))


async def fusion(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    model: FusionModel,
    bundle: str,
) -> AsyncIterator[Item]:
    """Score the risk of each closed bar, and again when a text, a chart or sound arrives; scores leave as records.

    Under the ladder's last level nothing is fused: bars are kept, and their records hold what statistics say of them.
    """
    level = 0
    async for item in items:
        # What passes is seen by triage before the newest bar is kept: it judges a tick by the bar before it.
        yield item
        if isinstance(item, Ladder):
            level = item.level
        elif isinstance(item, Ticked | Lapsed):
            ticked = (item,) if isinstance(item, Ticked) else item.ticked
            found = _fused(model, ticked, state, level, bundle) if level < RULES_ONLY else {}
            for at, one in enumerate(ticked):
                if one is not item:
                    yield one
                if one.update.bars is not None:
                    for said in _said(model, one, found.get(at), state[one.key], bundle):
                        yield said
        elif isinstance(item, Heard):
            kept = state[item.key]
            # What comes late speaks of now: an episode does not go back in time for it.
            now = np.array([max(item.embedding.ts_event, kept.bar_end)], np.int64)
            available = np.array([item.arrival.ts_available], np.int64)
            bar = np.frombuffer(kept.bar, np.float32)[None] if kept.bar else None
            held = _held(kept, level, bundle)
            fused = model.score(bar, np.array([kept.bar_end]), _columns(held), now)
            anomaly = np.array([kept.bar_anomaly])
            yield _record(item.key, kept, fused, 0, now, now, available, anomaly, bundle)
            if _slot(item.modality) in model.modalities:
                yield Scored(item.key, _track(model, held, fused, now, available, now), item.arrival)


def _fused(
    model: FusionModel, ticked: Sequence[Ticked], state: Mapping[str, InstrumentState], level: int, bundle: str
) -> dict[int, tuple[Fused, Held]]:
    """Return the scores of the bars that an item closed, and what was held beside them, by the item's number.

    The clock closes bars of many instruments at once: one pass over all that have nothing but bars costs little more
    than one over a single bar, and a row's bits are the row's alone.
    """
    found: dict[int, tuple[Fused, Held]] = {}
    plain: list[tuple[int, ClosedBars]] = []
    for at, item in enumerate(ticked):
        if (bars := item.update.bars) is None:
            continue
        if held := _held(state[item.key], level, bundle):
            found[at] = model.score(bars.features, bars.end, _columns(held), bars.end), held
        else:
            plain.append((at, bars))
    if plain:
        end = np.concatenate([bars.end for _, bars in plain])
        risk, share, present = model.score(np.concatenate([bars.features for _, bars in plain]), end, {}, end)
        last = 0
        for at, bars in plain:
            first, last = last, last + len(bars.end)
            found[at] = Fused(risk[first:last], share[first:last], present[first:last]), {}
    return found


def _slot(modality: str) -> str:
    slot, names = WORDS
    return slot if modality in names else modality


def _held(kept: InstrumentState, level: int, bundle: str) -> Held:
    """Return what is kept for each of the model's modalities but bars, and which of the alert's modalities it is.

    What the ladder leaves out is not among it, nor what another bundle's encoders made.
    """
    left = {
        name: embedding
        for name, embedding in kept.kept.items()
        if level < SHED_AT[name] and embedding.bundle in ("", bundle)
    }
    slot, names = WORDS
    held = {name: (name, embedding) for name, embedding in left.items() if name not in names}
    if words := [name for name in names if name in left]:
        newest = max(words, key=lambda name: left[name].ts_event)
        held[slot] = (newest, left[newest])
    return held


def _columns(held: Held) -> dict[str, Kept]:
    return {
        slot: Kept(
            np.concatenate([np.frombuffer(one.vector, np.float32), np.array(one.logits, np.float32)]), one.ts_event
        )
        for slot, (_, one) in held.items()
    }


def _said(
    model: FusionModel, item: Ticked, found: tuple[Fused, Held] | None, kept: InstrumentState, bundle: str
) -> Iterator[Item]:
    bars = item.update.bars
    assert bars is not None
    kept.bar = bars.features[-1].tobytes()
    kept.bar_end, kept.bar_anomaly = int(bars.end[-1]), float(bars.anomaly[-1])
    fused, held = found or (None, {})
    for row in range(len(bars.end)):
        yield _record(item.key, kept, fused, row, bars.start, bars.end, bars.ts_available, bars.anomaly, bundle)
    if fused is not None:
        track = _track(model, held, fused, bars.end, bars.ts_available, bars.start)
        yield Scored(item.key, track, item.arrival)


def _record(
    key: str,
    kept: InstrumentState,
    fused: Fused | None,
    row: int,
    start: Ints,
    end: Ints,
    available: Ints,
    anomaly: npt.NDArray[np.float64],
    bundle: str,
) -> Score:
    now = int(end[row])
    scores = {"market_anomaly": float(anomaly[row])}
    if fused is not None:
        scores["elevated_risk"] = float(fused.risk[row])
    words = [one for name in WORDS[1] if (one := kept.kept.get(name))]
    if words:
        scores["adverse_text"] = max(words, key=lambda one: one.ts_event).score
    scores |= {head: one.score for name, head in HEADS.items() if (one := kept.kept.get(name))}
    return Score(
        ts_event=now,
        ts_available=int(available[row]),
        instrument=key,
        window_start=int(start[row]),
        window_end=now,
        scores=scores,
        ages_ns={modality: max(0, now - e.ts_event) for modality, e in kept.kept.items()},
        bundle=bundle,
    )


def _track(
    model: FusionModel,
    held: Held,
    fused: Fused,
    ts: Ints,
    available: Ints,
    start: Ints,
) -> Track:
    spec = elevated_risk.SPEC

    def shares(row: int) -> dict[str, float]:
        return {
            TICKS if slot == TICKS else held[slot][0]: float(share)
            for slot, share, present in zip(model.modalities, fused.share[row], fused.present[row], strict=True)
            if present
        }

    def weights(row: int) -> dict[str, float]:
        found = shares(row)
        whole = sum(map(abs, found.values()))
        return {name: abs(share) / whole for name, share in found.items()} if whole else {}

    def explain(row: int) -> Explanation:
        found = shares(row)
        rules = [
            RuleResult(name=f"share_of_{name}", value=share, threshold=0.0, unit="log odds")
            for name, share in found.items()
        ]
        risk = RuleResult(name="risk", value=float(fused.risk[row]), threshold=spec.open, unit="probability")
        places = [
            Attribution(
                topic=PLACES[name][0],
                locator=f"{PLACES[name][1]} {first}:{last}",
                weight=weight,
                excerpt=f"of its own score {one.score:.2f}",
            )
            for name, one in held.values()
            if name in found
            for first, last, weight in sorted(one.spans, key=lambda span: -abs(span[2]))[:ATTRIBUTIONS]
        ]
        return Explanation(rules=[risk, *rules], attributions=places, clears=f"a risk below {spec.open:g}")

    return Track("elevated_risk", ts, available, fused.risk, start, explain, weights)
