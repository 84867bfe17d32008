"""Exhibits: the inputs that an alert rests on as they are, the places that carried weight marked in them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from agents.text import EXCERPT_CHARS, words
from engines import audio, charts, pictures
from engines.redaction import excerpt
from monitor.recordings import Message
from monitor.render import clock
from monitor.report import figures, inks
from monitor.report.page import Block, Cell, Note, Picture, Plot, Sound, Table, Words, data_url
from monitor.report.sources import Evidence, Place, usable
from schemas.alerts import Alert
from schemas.frames import Frame, Kind
from schemas.order_frames import Action, OrderFrame
from schemas.records import AudioSegment, ChartSnapshot, News, TranscriptSegment

#: Points of a waveform, and ticks, that are drawn at most.
MOST_POINTS = 1_500
MOST_TICKS = 3_000
TICKS_PX = 360
MOST_ORDERS = 50
#: A place that no table of accounts has.
_NOWHERE = -2
#: Bytes of a picture or a sound that a page carries as they are.
MOST_PICTURE_BYTES = 512 * 1024
MOST_SOUND_BYTES = 2 * 1024 * 1024
#: The topic of an alert's explanation → how a place in its messages is named.
LOCATORS = {"news": "chars", "transcripts": "chars", "charts": "columns", "audio": "ms", "frames": "ticks"}
_LOCATOR = re.compile(r"(\w+) (\d+):(\d+)")


class Marked(NamedTuple):
    """A place ``[start, end)`` in an input, in the unit of its topic's `LOCATORS`, and its weight."""

    start: int
    end: int
    weight: float
    excerpt: str


def marked(alert: Alert, topic: str) -> list[Marked]:
    """Return the places that an alert names in messages of a topic, the weightiest first."""
    found = []
    for one in alert.explanation.attributions:
        match = _LOCATOR.fullmatch(one.locator)
        if one.topic == topic and match and match[1] == LOCATORS.get(topic):
            found.append(Marked(int(match[2]), int(match[3]), one.weight, one.excerpt))
    return sorted(found, key=lambda place: -abs(place.weight))


def texts(alert: Alert, evidence: Evidence, topic: str) -> list[Block]:
    """Return what was written (``news``) or said (``transcripts``), the characters that carried weight marked."""
    places = marked(alert, topic)
    kind: type[News] | type[TranscriptSegment] = News if topic == "news" else TranscriptSegment
    held = [(message, words(one), one) for message, one in usable(evidence.verified(alert, topic), kind)]
    if not held:
        return []
    # An excerpt tells which of several texts is meant; without one it is the newest.
    meant = max(held, key=lambda one: sum(_says(one[1], place) for place in places))[0]
    return [
        Words(
            title=_byline(one),
            source=f"{message.topic} {message.partition}/{message.offset}, available {clock(message.ts_available)}",
            pieces=_pieces(said, places) if message is meant else [(said, None)],
        )
        for message, said, one in held
    ]


def _says(text: str, place: Marked) -> bool:
    return bool(place.excerpt) and excerpt(text, place.start, place.end)[:EXCERPT_CHARS] == place.excerpt


def _byline(one: News | TranscriptSegment) -> str:
    if isinstance(one, News):
        kind = "Post" if one.channel == "post" else "News"
        return " · ".join(filter(None, (kind, one.source, clock(one.ts_event))))
    speaker = ", ".join(filter(None, (one.speaker, one.role)))
    return " · ".join(filter(None, (f"Call {one.call_id}, segment {one.segment}", speaker, clock(one.ts_event))))


def _pieces(text: str, places: Iterable[Marked]) -> list[tuple[str, float | None]]:
    """Cut a text at the marked places; of two that overlap the weightier is marked."""
    kept: list[Marked] = []
    for place in places:
        inside = 0 <= place.start < place.end <= len(text)
        if inside and all(place.end <= other.start or other.end <= place.start for other in kept):
            kept.append(place)
    pieces: list[tuple[str, float | None]] = []
    at = 0
    for start, end, weight, _ in sorted(kept):
        pieces += [(text[at:start], None), (text[start:end], weight)]
        at = end
    return [(piece, weight) for piece, weight in [*pieces, (text[at:], None)] if piece]


def orders(alert: Alert, evidence: Evidence) -> list[Block]:
    """Return the order events that an alert rests on, newest first: those of its account, where it names one."""
    held = [of_account(one, alert.subject.account) for _, one in usable(evidence.verified(alert, "orders"), OrderFrame)]
    places = itertools.islice(((one, i) for one in held for i in reversed(range(len(one)))), MOST_ORDERS)
    rows: list[list[str | Cell]] = [
        [
            clock(one.ts_event.item(i), "%H:%M:%S.%f")[:-3],
            Action(one.action.item(i)).name.lower(),
            "buy" if one.side[i] > 0 else "sell",
            f"{one.price[i]:.10g}" if one.price[i] else "market",
            f"{one.size[i]:,.6g}",
            one.accounts[one.account[i]] if one.account[i] >= 0 else "",
            str(one.order[i]),
        ]
        for one, i in places
    ]
    if not rows:
        return []
    return [
        Table(
            caption="Orders that the alert rests on, newest first",
            head=["event (UTC)", "action", "side", "price", "size", "account", "order"],
            rows=rows,
            numeric=frozenset({3, 4}),
            more=f"{earlier:,} earlier ones are left out here." if (earlier := sum(map(len, held)) - len(rows)) else "",
        )
    ]


def of_account(frame: OrderFrame, account: str) -> OrderFrame:
    """Return the rows of an account, all of them where ``account`` is ""."""
    if not account:
        return frame
    return frame[frame.account == (frame.accounts.index(account) if account in frame.accounts else _NOWHERE)]


def chart(alert: Alert, evidence: Evidence) -> list[Block]:
    """Return the newest chart that an alert rests on, the columns that carried weight marked."""
    for message, one in usable(evidence.verified(alert, "charts"), ChartSnapshot):
        payload, media_type = one.payload, str(one.media_type)
        if len(payload) > MOST_PICTURE_BYTES:
            greys = pictures.decode(payload, one.media_type)
            step = -(-max(greys.shape) // 800)
            payload, media_type = charts.png(np.ascontiguousarray(greys[::step, ::step])), "image/png"
        places = [place for place in marked(alert, "charts") if place.start < place.end <= one.width]
        told = ", ".join(f"columns {place.start} to {place.end} ({place.weight:+.2g})" for place in places)
        return [
            Picture(
                title=f"Chart · {clock(message.ts_event)}",
                data=data_url(payload, media_type),
                alt=f"A chart of {one.width} × {one.height} pixels as it came"
                + (f"; what carried weight: {told}." if told else "; no place in it is named."),
                width_px=one.width,
                height_px=one.height,
                marks=[(p.start / one.width, (p.end - p.start) / one.width, p.weight) for p in places],
            )
        ]
    return []


def sound(alert: Alert, evidence: Evidence, name: str, *, listen: bool) -> list[Block]:
    """Return the newest sound that an alert rests on: its log-mel picture and its wave, the milliseconds marked."""
    for message, one in usable(evidence.verified(alert, "audio"), AudioSegment):
        try:
            heard = audio.decode(one.payload, one.media_type, one.sample_rate_hz, one.channels)
            samples = audio.resample(heard)
        except audio.AudioError as error:
            return [Note(f"The sound of {clock(message.ts_event)} cannot be drawn: {error}.", warns=True)]
        blocks: list[Block] = [_wave(alert, message, samples, name)]
        if listen and one.media_type != "audio/L16" and len(one.payload) <= MOST_SOUND_BYTES:
            blocks.append(Sound(title="Listen to it", data=data_url(one.payload, one.media_type)))
        return blocks
    return []


def _wave(alert: Alert, message: Message, samples: audio.Floats, name: str) -> Plot:
    seconds = len(samples) / audio.SAMPLE_RATE_HZ
    spectrogram = audio.log_mel(samples)  # (frame, mel)
    each = -(-len(spectrogram) // MOST_POINTS)
    shown = spectrogram[: len(spectrogram) // each * each].reshape(-1, each, audio.MELS).max(1)  # (column, mel)
    step = max(1, len(samples) // MOST_POINTS)
    cut = samples[: len(samples) // step * step].reshape(-1, step)  # (point, sample)
    wave = np.stack([cut.min(1), cut.max(1)], 1).ravel()  # (2 points,): the envelope
    at = np.repeat(np.arange(len(cut)) * step / audio.SAMPLE_RATE_HZ, 2)
    places = marked(alert, "audio")
    traces = [
        go.Heatmap(
            z=figures.small(np.maximum(shown, shown.max() - 6.0)).T,
            x0=0,
            dx=each * audio.HOP / audio.SAMPLE_RATE_HZ,
            y=figures.small(audio.mel_centres_hz()),
            colorscale="Viridis",
            showscale=False,
            hovertemplate="%{x:.2f} s, %{y:.0f} Hz: 10<sup>%{z:.1f}</sup><extra></extra>",
            yaxis="y",
        ),
        go.Scatter(
            x=figures.small(at),
            y=figures.small(wave),
            mode="lines",
            line={"width": 1, "color": inks.ACCENT.light},
            hoverinfo="skip",
            yaxis="y2",
        ),
    ]
    shapes = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": place.start / 1e3,
            "x1": place.end / 1e3,
            "y0": 0,
            "y1": 1,
            "line": {"color": inks.CRITICAL.light, "width": 2},
        }
        for place in places
    ]
    told = ", ".join(f"{p.start / 1e3:.2f} to {p.end / 1e3:.2f} s ({p.weight:+.2g})" for p in places)
    return Plot(
        name=f"{name}-sound",
        figure=figures.figure(
            traces,
            x="s",
            xaxis={"range": [0, seconds], "anchor": "y2"},
            yaxis=figures.axis(domain=[0.38, 1], title="Hz", fixedrange=True),
            yaxis2=figures.axis(domain=[0, 0.3], title="wave", fixedrange=True),
            showlegend=False,
            shapes=shapes,
            annotations=[
                figures.flag(f"{place.weight:+.2g}", inks.CRITICAL, x=(place.start + place.end) / 2e3)
                for place in places
            ],
        ),
        alt=f"Call audio of {clock(message.ts_event)}, {seconds:.1f} s: log-mel picture above, wave below"
        + (f"; what carried weight: {told}." if told else "; no place in it is named."),
        height_px=320,
    )


def ticks(alert: Alert, frames: Sequence[tuple[Place, Frame]], name: str) -> list[Block]:
    """Return the trades around an alert, or the mid quotes where nothing was traded; those it rests on stand out."""
    if not frames:
        return []
    rests_on = {Place(one.topic, one.partition, one.offset) for one in alert.evidence.inputs}
    named = marked(alert, "frames")
    newest = max((place for place, _ in frames if place in rests_on), default=None)
    parts = []
    for place, frame in frames:
        role = np.full(len(frame), 1 if place in rests_on else 0)  # (row,)
        for start, end, _, _ in named if place == newest else ():
            role[start:end] = 2
        parts.append((frame, role))
    traded = any((frame.kind == Kind.TRADE).any() for frame, _ in parts)
    columns = [_rows(*part, traded) for part in parts]
    ts, price, side, role = (np.concatenate(column) for column in zip(*columns, strict=True))
    if not len(ts):
        return []
    kept = _thinned(role)
    ts, price, side, role = ts[kept], price[kept], side[kept], role[kept]
    traces = [
        go.Scatter(
            x=figures.milliseconds(ts),
            y=figures.small(price),
            mode="lines",
            line={"width": 1, "color": inks.VOLUME.light, "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
        )
    ]
    styles = (
        ("around it", inks.PLAIN, 6, 0.55),
        ("the alert rests on", inks.ACCENT, 9, 0.95),
        ("named by it", inks.CRITICAL, 11, 1.0),
    )
    for number, (label, ink, size, opacity) in enumerate(styles):
        mine = role == number
        if not mine.any():
            continue
        traces.append(
            go.Scatter(
                x=figures.milliseconds(ts[mine]),
                y=figures.small(price[mine]),
                mode="markers",
                name=label,
                marker={
                    "color": ink.light,
                    "size": size,
                    "opacity": opacity,
                    "symbol": np.where(
                        side[mine] > 0, "triangle-up", np.where(side[mine] < 0, "triangle-down", "circle")
                    ),
                },
                hovertemplate="%{x|%H:%M:%S.%L}: %{y:.6g}<extra>" + label + "</extra>",
            )
        )
    what = "trades" if traded else "mid quotes"
    lines, flags = figures.moments(alert.times, height_px=TICKS_PX)
    return [
        Plot(
            name=f"{name}-ticks",
            figure=figures.figure(
                traces,
                y="price",
                xaxis={"type": "date"},
                shapes=lines,
                annotations=flags,
                margin={"t": 64, "l": 52, "r": 14, "b": 40},
                legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0},
            ),
            alt=f"{len(ts):,} {what} of {alert.subject.instrument} around the alert, {int((role > 0).sum()):,} of them"
            " in what it rests on; triangles point up for buys and down for sells; lines show when the window begins,"
            " when the cause was complete and when the alert could be known.",
            height_px=TICKS_PX,
            group=f"{name}-time",
        )
    ]


_Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int8], npt.NDArray[np.int64]]


def _rows(frame: Frame, role: npt.NDArray[np.int64], traded: bool) -> _Columns:
    rows = frame.kind == (Kind.TRADE if traded else Kind.QUOTE)
    price = frame.price if traded else (frame.bid + frame.ask) / 2
    return frame.ts_event[rows], price[rows], frame.side[rows], role[rows]


def _thinned(role: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return which of `MOST_TICKS` rows at most are drawn: as many of those that matter as there is room for."""
    if len(role) <= MOST_TICKS:
        return np.arange(len(role))
    matter, rest = np.flatnonzero(role), np.flatnonzero(role == 0)
    matter = matter[:: -(-len(matter) // (MOST_TICKS // 2)) or 1]
    rest = rest[:: -(-len(rest) // (MOST_TICKS // 2)) or 1]
    return np.sort(np.concatenate([matter, rest]))
