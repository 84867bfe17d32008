"""Words: a news item, a post or a segment of a call is heard once, its embedding kept, its score judged."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from functools import partial

import numpy as np

from agents.flow import Arrival, Heard, Item, Scored, modality_of
from agents.instrument_state import InstrumentState
from agents.watched import seen_of
from engines.redaction import excerpt, redacted
from engines.text_labels import TextLabel
from engines.tracks import Embedding, Track
from engines.words import Finding, WordsConfig, of_call, of_document
from schemas.alerts import Attribution, Explanation, RuleResult
from schemas.records import News, TranscriptSegment

EXCERPT_CHARS = 80
ATTRIBUTIONS = 5


def words(record: News | TranscriptSegment) -> str:
    """Return the text that is encoded: a document's headline and body, a segment's text."""
    if isinstance(record, TranscriptSegment):
        return record.text
    return document(record.headline, record.body)


def document(headline: str, body: str) -> str:
    """Return a document's text."""
    return f"{headline}. {body}" if body else headline


async def text(
    items: AsyncIterator[Item],
    state: MutableMapping[str, InstrumentState],
    *,
    adverse: float,
    skipped: Callable[[str], None],
    lexicon: WordsConfig,
    labels: Sequence[TextLabel] = (),
) -> AsyncIterator[Item]:
    """Keep embeddings of texts.

    Under the ladder's last level texts come without an embedding: they are evidence, and change nothing.

    Parameters
    ----------
    adverse
        The score from which a text speaks against the instrument, for the explanation.
    skipped
        Is told the modality of each text that came without an embedding.
    lexicon
        The parameters of the typologies of words (`engines.words`): one judges each text that says something of it.
    labels
        What else a text may be about; each judges every text.
    """
    async for item in items:
        yield item
        if not (isinstance(item, Arrival) and isinstance(item.value, News | TranscriptSegment)):
            continue
        record, embedding = item.value, item.embedding
        if embedding is None:
            skipped(modality_of(record))
            continue
        kept = state[item.key]
        modality = modality_of(record)
        if not kept.first_time(fingerprint(modality, identity_of(record))):
            continue
        kept.keep(modality, embedding, seen_of(item))
        state[item.key] = kept
        yield Heard(item.key, modality, embedding, item)
        yield Scored(item.key, _track(item, record, embedding, adverse), item)
        for label in labels:
            yield Scored(item.key, _labelled(item, record, embedding, label), item)
        found = _found(record, lexicon)
        if found.score:
            yield Scored(
                item.key, _moment(item, record, found.head, found.score, partial(found.explain, item.topic)), item
            )


def identity_of(record: News | TranscriptSegment) -> str:
    """Return what names a text, whichever instrument it came for."""
    return record.document_id if isinstance(record, News) else f"{record.call_id}\x1f{record.segment}"


def fingerprint(modality: str, identity: str) -> int:
    """Return what is remembered of a document, so that it is heard once."""
    return int.from_bytes(hashlib.sha256(f"{modality}\x1f{identity}".encode()).digest()[:8], "big") >> 1


def _found(record: News | TranscriptSegment, config: WordsConfig) -> Finding:
    if isinstance(record, TranscriptSegment):
        return of_call(config, words(record), record.role)
    return of_document(config, words(record), post=record.channel == "post")


def _moment(
    item: Arrival,
    record: News | TranscriptSegment,
    head: str,
    score: float,
    explain: Callable[[], Explanation],
    p_value: float | None = None,
) -> Track:
    """Return the track of one score, of the moment of a text."""
    return Track(
        head=head,
        ts_event=np.array([record.ts_event], np.int64),
        ts_available=np.array([item.ts_available], np.int64),
        score=np.array([score], np.float64),
        window_start=np.array([record.ts_event], np.int64),
        explain=lambda _: explain(),
        weights=lambda _: {modality_of(record): 1.0},
        p_value=None if p_value is None else np.array([p_value], np.float64),
    )


def _track(item: Arrival, record: News | TranscriptSegment, embedding: Embedding, adverse: float) -> Track:
    said = words(record)

    def explain() -> Explanation:
        spans = sorted(embedding.spans, key=lambda span: -span[2])[:ATTRIBUTIONS]
        return Explanation(
            rules=[RuleResult(name="adverse_text", value=embedding.score, threshold=adverse, unit="probability")],
            attributions=[
                Attribution(
                    topic=item.topic,
                    locator=f"chars {start}:{end}",
                    weight=weight,
                    excerpt=excerpt(said, start, end)[:EXCERPT_CHARS],
                )
                for start, end, weight in spans
            ],
            clears=f"a text scored below {adverse:g}",
        )

    return _moment(item, record, "adverse_text", embedding.score, explain)


def _labelled(item: Arrival, record: News | TranscriptSegment, embedding: Embedding, label: TextLabel) -> Track:
    judged = label.judge(np.frombuffer(embedding.vector, np.float32))

    def explain() -> Explanation:
        file, said = label.file, words(record)
        return Explanation(
            rules=[
                RuleResult(name=label.head, value=judged.statistic, threshold=file.threshold, unit="statistic"),
                RuleResult(
                    name="rarity",
                    value=-math.log10(judged.p_value),
                    threshold=-math.log10(file.budget),
                    unit=f"-log10 of the p-value among {file.calibrated:,} texts",
                ),
            ],
            attributions=[
                Attribution(
                    topic=item.topic,
                    locator=f"chars 0:{len(said)}",
                    weight=judged.statistic,
                    excerpt=redacted(said)[:EXCERPT_CHARS],
                )
            ],
            clears=f"a text whose p-value as {file.name} is above {file.budget:g}; this one's is {judged.p_value:.2g}",
        )

    return _moment(item, record, label.head, judged.score, explain, judged.p_value)
