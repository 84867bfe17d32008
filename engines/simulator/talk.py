"""Talk of a simulated day: ordinary calls with clients, and words of misconduct with their look-alikes.

What is injected, and how strong and how hidden it is, stands in docs/simulator.md; it moves no price.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import NamedTuple

import numpy as np

from engines.labels import Label
from engines.simulator import sayings, words
from engines.simulator.day import Article, Config
from engines.simulator.flow import SECOND_NS
from engines.simulator.words import Company
from schemas.records import TranscriptSegment

#: Background, as a name among the typologies; no label tells of it.
CLIENT_CALL = "client_call"
#: Typology → how many a day. Each of the latter three is as large as one of the former and harms nobody.
PLAN: dict[str, int] = {
    "mis_selling": 2,
    "pump_coordination": 2,
    "enforcement_language": 2,
    "warned_promotion": 2,
    "pump_warning": 2,
    "denied_enquiry": 2,
}
BENIGN = frozenset({"warned_promotion", "pump_warning", "denied_enquiry"})
_CALLS = 4
_TURNS = 20
#: How long an event takes in a session of `_FULL_S`; a shorter session has shorter ones.
_CALL_S, _POSTS_S, _ARTICLES_S = 900, 1_200, 3_600
_FULL_S = 23_400
#: Multiples at full strength: of the adviser's sentences, and of what is usual in an hour.
_SHARE_SAID, _POSTS, _ARTICLES = 0.1, 6.0, 3.0
_POSTS_AN_AUTHOR = 3
_LEAST_NS = 60 * SECOND_NS  # of a label


class Talk(NamedTuple):
    """What is written (by ``ts_available``) and said on a day, and what of it was injected."""

    articles: list[Article]
    transcripts: list[TranscriptSegment]
    labels: list[Label]


@dataclass(frozen=True, slots=True)
class _Event:
    """One event in the making: about ``company``, within ``span_s`` from ``start_s`` of the session on."""

    rng: np.random.Generator
    companies: list[Company]
    company: int
    start_s: float
    span_s: float
    strength: float
    disguise: float
    usual_posts: float
    usual_articles: float
    open_ns: int
    prefix: str  # of the ids of what is said and written

    def fill(self, template: str, *, spoken: bool = False) -> str:
        """Return a sentence about the company."""
        given = {slot: words.pick(self.rng, options) for slot, options in sayings.SLOTS.items()}
        return words.write(self.rng, template, self.companies, (self.company,) * 3, spoken=spoken, **given).text

    def moments(self, count: int) -> list[int]:
        """Return so many times within the event, ns UTC, ascending."""
        at_s = np.sort(self.start_s + self.rng.uniform(0, self.span_s, count))
        return [self.open_ns + int(at * SECOND_NS) for at in at_s]

    def hidden(self, count: int) -> list[bool]:
        """Draw which of so many are told in paraphrase."""
        hidden = np.zeros(count, dtype=bool)
        hidden[self.rng.permutation(count)[: round(self.disguise * count)]] = True
        return hidden.tolist()


class _Made(NamedTuple):
    """What an event came to; ``told_ns`` are the times of what makes it one, ascending."""

    articles: list[Article]
    transcripts: list[TranscriptSegment]
    told_ns: list[int]


def day(
    config: Config,
    companies: list[Company],
    background: Sequence[Article],
    today: date,
    number: int,
    open_ns: int,
    typologies: Collection[str],
) -> Talk:
    """Return what is said and written beside the ``background`` on a day, the ``number``-th from 0.

    ``typologies`` are names in `PLAN`, and `CLIENT_CALL` where ordinary calls are wanted; each has a stream of its own,
    so that one does not change with the others.
    """
    scale = min(1.0, config.hours * 3_600 / _FULL_S)
    usual = {
        channel: median(_naming(background, channel, company) for company in companies) / config.hours
        for channel in ("post", "news")
    }
    articles: list[Article] = []
    transcripts: list[TranscriptSegment] = []
    labels: list[Label] = []
    for order, (name, count) in enumerate([(CLIENT_CALL, _CALLS), *PLAN.items()]):
        if name not in typologies:
            continue
        rng = np.random.default_rng([config.seed, 555_000 + number, order])
        make, span_s = _MAKERS[name]
        for k, company in enumerate(np.resize(rng.permutation(len(companies)), count).tolist()):
            event = _Event(
                rng,
                companies,
                company,
                config.hours * 3_600 * float(rng.uniform(0.05, 0.8)),
                span_s * scale,
                config.strength,
                config.disguise,
                usual["post"],
                usual["news"],
                open_ns,
                f"{today:%Y%m%d}-{name}-{k}",
            )
            made = make(event)
            articles += made.articles
            transcripts += made.transcripts
            if name == CLIENT_CALL:
                continue
            labels.append(
                Label(
                    event_id=event.prefix,
                    typology=name,
                    start_ns=made.told_ns[0],
                    onset_ns=made.told_ns[0],
                    end_ns=max(made.told_ns[-1], made.told_ns[0] + _LEAST_NS),
                    instruments=[companies[company].instrument],
                    strength=config.strength,
                    disguise=config.disguise,
                    public_ns=made.told_ns[0] if made.articles else 0,
                    benign=name in BENIGN,
                )
            )
    return Talk(
        sorted(articles, key=lambda article: article.ts_available),
        sorted(transcripts, key=lambda segment: (segment.ts_available, segment.instrument)),
        sorted(labels, key=lambda label: label.onset_ns),
    )


def _naming(articles: Sequence[Article], channel: str, company: Company) -> int:
    return sum(one.channel == channel and company.instrument in one.instruments for one in articles)


# Calls.


def _call(event: _Event, cues: Callable[[int], list[str]], asked: tuple[str, ...] = ()) -> _Made:
    """Return a call in which an adviser and a client take turns; ``cues`` are put among so many sentences of his."""
    rng = event.rng
    said = [
        [words.pick(rng, sayings.ADVISER) for _ in range(int(rng.integers(2, 4)))]
        if turn % 2 == 0
        else [words.pick(rng, sayings.CLIENT) for _ in range(int(rng.integers(1, 3)))]
        for turn in range(2 * _TURNS)
    ]
    places = [(turn, k) for turn in range(0, 2 * _TURNS, 2) for k in range(len(said[turn]))]
    chosen = cues(len(places))
    at = sorted(rng.choice(len(places), len(chosen), replace=False).tolist())
    for place, cue in zip(at, chosen, strict=True):
        turn, k = places[place]
        said[turn][k] = cue
    for question in asked:
        said[1 + 2 * int(rng.integers(_TURNS))].append(question)
    told = {places[place][0] for place in at}
    transcripts = [
        TranscriptSegment(
            ts_event=at_ns,
            ts_available=at_ns + int(rng.integers(400_000_000, 1_500_000_000)),
            instrument=event.companies[event.company].instrument,
            call_id=event.prefix,
            segment=turn,
            text=" ".join(event.fill(sentence, spoken=True) for sentence in sentences),
            speaker="client" if turn % 2 else "adviser",
            role="client" if turn % 2 else "adviser",
        )
        for turn, (at_ns, sentences) in enumerate(zip(event.moments(len(said)), said, strict=True))
    ]
    return _Made([], transcripts, [transcripts[turn].ts_event for turn in sorted(told)])


def _client_call(event: _Event) -> _Made:
    return _call(event, lambda sentences: [])


def _mis_selling(event: _Event) -> _Made:
    def cues(sentences: int) -> list[str]:
        count, rng = _at_least(1, event.strength * _SHARE_SAID * sentences), event.rng
        plain = ((sayings.PROMISED, sayings.PROMISED_ALIKE), (sayings.PRESSED, sayings.PRESSED_ALIKE))
        senses = [0, *rng.integers(0, 2, count - 1).tolist()]
        return _unlike(rng, [plain[sense][hidden] for sense, hidden in zip(senses, event.hidden(count), strict=True)])

    return _call(event, cues)


def _warned_promotion(event: _Event) -> _Made:
    def cues(sentences: int) -> list[str]:
        return _unlike(event.rng, [sayings.WARNED] * _at_least(1, event.strength * _SHARE_SAID * sentences))

    return _call(event, cues, tuple(_unlike(event.rng, [sayings.ASKED] * 2)))


# Posts and articles.


def _written(event: _Event, channel: str, texts: list[tuple[str, str]], sources: list[str]) -> _Made:
    """Return texts (headline, body), each of its source, at times within the event."""
    articles = [
        Article(
            document_id=f"{event.prefix}-{k}",
            ts_event=at_ns,
            ts_available=at_ns + int(event.rng.integers(50_000_000, 800_000_000)),
            headline=event.fill(headline),
            body=event.fill(body),
            source=source,
            channel=channel,
            instruments=(event.companies[event.company].instrument,),
        )
        for k, ((headline, body), source, at_ns) in enumerate(
            zip(texts, sources, event.moments(len(texts)), strict=True)
        )
    ]
    return _Made(articles, [], [article.ts_event for article in articles])


def _posts(event: _Event, plain: tuple[str, ...], alike: tuple[str, ...]) -> _Made:
    count = _at_least(2, event.strength * _POSTS * event.usual_posts)
    authors = event.rng.choice(np.arange(1, 900), _at_least(2, count / _POSTS_AN_AUTHOR), replace=False)
    texts = _unlike(event.rng, [alike if hidden else plain for hidden in event.hidden(count)])
    sources = [f"@trader{number}" for number in np.resize(authors, count)]
    return _written(event, "post", [(text, "") for text in texts], sources)


def _pump_coordination(event: _Event) -> _Made:
    return _posts(event, sayings.CALLED, sayings.CALLED_ALIKE)


def _pump_warning(event: _Event) -> _Made:
    return _posts(event, sayings.WARNED_OF, sayings.WARNED_OF)


def _articles(event: _Event, plain: list[tuple[str, ...]], alike: list[tuple[str, ...]]) -> _Made:
    """Return articles of headlines and bodies, ``(headlines, bodies)`` of what is told plainly and in paraphrase."""
    count = _at_least(1, event.strength * _ARTICLES * event.usual_articles)
    told = [alike if hidden else plain for hidden in event.hidden(count)]
    heads, bodies = (_unlike(event.rng, [one[part] for one in told]) for part in (0, 1))
    return _written(event, "news", list(zip(heads, bodies, strict=True)), ["newswire"] * count)


def _enforcement_language(event: _Event) -> _Made:
    story = sayings.STORIES[int(event.rng.integers(len(sayings.STORIES)))]
    return _articles(event, [*story], [sayings.STORY_ALIKE, sayings.STORY_ALIKE_BELOW])


def _denied_enquiry(event: _Event) -> _Made:
    told = [sayings.DENIED, sayings.DENIED_BELOW]
    return _articles(event, told, told)


def _at_least(least: int, count: float) -> int:
    return max(least, round(count))


def _unlike(rng: np.random.Generator, options: Sequence[tuple[str, ...]]) -> list[str]:
    """Pick one of each, none again before all of its list were picked."""
    left: dict[tuple[str, ...], list[str]] = {}
    picked = []
    for some in options:
        if not left.get(some):
            left[some] = [some[k] for k in rng.permutation(len(some)).tolist()]
        picked.append(left[some].pop())
    return picked


_MAKERS: dict[str, tuple[Callable[[_Event], _Made], int]] = {
    CLIENT_CALL: (_client_call, _CALL_S),
    "mis_selling": (_mis_selling, _CALL_S),
    "warned_promotion": (_warned_promotion, _CALL_S),
    "pump_coordination": (_pump_coordination, _POSTS_S),
    "pump_warning": (_pump_warning, _POSTS_S),
    "enforcement_language": (_enforcement_language, _ARTICLES_S),
    "denied_enquiry": (_denied_enquiry, _ARTICLES_S),
}
