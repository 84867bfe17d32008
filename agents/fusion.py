"""Fusion: at a bar's close and at a new embedding, what is kept of each modality becomes one risk score."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping, Sequence

import numpy as np
import numpy.typing as npt

from agents.flow import Heard, Item, Lapsed, Scored, Ticked
from agents.state import InstrumentState
from engines.fusion import MODALITIES, Fused, FusionModel
from engines.tracks import Embedding, Track
from engines.typologies import elevated_risk
from schemas.alerts import Explanation, RuleResult
from schemas.journal import RULES_ONLY, Ladder
from schemas.records import Score

Ints = npt.NDArray[np.int64]


async def fusion(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    model: FusionModel,
    bundle: str,
) -> AsyncIterator[Item]:
    """Score the risk of each closed bar, and again when a text arrives; every score leaves as a record.

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
            scores = _fused(model, ticked, state) if level < RULES_ONLY else [None] * len(ticked)
            for one, fused in zip(ticked, scores, strict=True):
                if one is not item:
                    yield one
                if one.update.bars is not None:
                    for said in _said(one, fused, state[one.key], bundle):
                        yield said
        elif isinstance(item, Heard):
            kept = state[item.key]
            now = np.array([item.embedding.ts_event], np.int64)
            available = np.array([item.arrival.ts_available], np.int64)
            bar = np.frombuffer(kept.bar, np.float32)[None] if kept.bar else None
            fused = _fuse(model, bar, item.embedding, now)
            anomaly = np.array([kept.bar_anomaly])
            yield _record(item.key, kept, item.embedding, fused, 0, now, now, available, anomaly, bundle)
            yield Scored(item.key, _track(fused, now, available, now), item.arrival)


def _fused(
    model: FusionModel, ticked: Sequence[Ticked], state: Mapping[str, InstrumentState]
) -> Sequence[Fused | None]:
    """Return the scores of the bars that each item closed, None where it closed none.

    The clock closes bars of many instruments at once: one pass over all that have no text costs little more than one
    over a single bar, and a row's bits are the row's alone.
    """
    found: dict[int, Fused] = {}
    plain: list[tuple[int, npt.NDArray[np.float32]]] = []
    for at, item in enumerate(ticked):
        if (bars := item.update.bars) is None:
            continue
        if newest := _newest(state[item.key]):
            found[at] = _fuse(model, bars.features, newest, bars.end)
        else:
            plain.append((at, bars.features))
    if len(plain) == 1:
        found[plain[0][0]] = model.score(plain[0][1])
    elif plain:
        risk, contribution, present = model.score(np.concatenate([rows for _, rows in plain]))
        end = 0
        for at, rows in plain:
            start, end = end, end + len(rows)
            found[at] = Fused(risk[start:end], contribution[start:end], present[start:end])
    return [found.get(at) for at in range(len(ticked))]


def _said(item: Ticked, fused: Fused | None, kept: InstrumentState, bundle: str) -> Iterator[Item]:
    bars = item.update.bars
    assert bars is not None
    kept.bar = bars.features[-1].tobytes()
    kept.bar_end, kept.bar_anomaly = int(bars.end[-1]), float(bars.anomaly[-1])
    newest = _newest(kept)
    for row in range(len(bars.end)):
        yield _record(item.key, kept, newest, fused, row, bars.start, bars.end, bars.ts_available, bars.anomaly, bundle)
    if fused is not None:
        yield Scored(item.key, _track(fused, bars.end, bars.ts_available, bars.start), item.arrival)


def _newest(kept: InstrumentState) -> Embedding | None:
    return max(kept.kept.values(), key=lambda embedding: embedding.ts_event, default=None)


def _fuse(model: FusionModel, bars: npt.NDArray[np.float32] | None, text: Embedding | None, now: Ints) -> Fused:
    if text is None:
        return model.score(bars)
    age_ns = np.maximum(now - text.ts_event, 0)
    return model.score(bars, np.frombuffer(text.vector, np.float32), np.array(text.logits, np.float32), age_ns)


def _record(
    key: str,
    kept: InstrumentState,
    newest: Embedding | None,
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
    if newest is not None:
        scores["adverse_text"] = newest.score
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


def _track(fused: Fused, ts: Ints, available: Ints, start: Ints) -> Track:
    spec = elevated_risk.SPEC

    def explain(row: int) -> Explanation:
        shares = [
            RuleResult(name=f"share_of_{name}", value=float(share), threshold=0.0, unit="log odds")
            for name, share, present in zip(MODALITIES, fused.contribution[row], fused.present[row], strict=True)
            if present
        ]
        risk = RuleResult(name="risk", value=float(fused.risk[row]), threshold=spec.open, unit="probability")
        return Explanation(rules=[risk, *shares], clears=f"a risk below {spec.open:g}")

    return Track("elevated_risk", ts, available, fused.risk, start, explain)
