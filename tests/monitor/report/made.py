"""A report and dossiers to be looked at: the golden day, its alerts, and a document that would be a program."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path

import msgspec
import numpy as np

from engines.audio import SAMPLE_RATE_HZ, wav
from engines.labels import Label
from engines.simulator import voices
from monitor.converters.messages import frame_messages, record_message
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Message, Recording
from monitor.report.material import Material, gather
from schemas.alerts import Alert, Attribution, Input, Modality
from schemas.records import AudioSegment, News
from tests import misconduct
from tests.backtests import a_backtest
from tests.golden import day

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & </script> %{x}"
SECOND_NS = 10**9


#: Where the documents that the day does not have lie in the recording.
HOSTILE_OFFSET, SOUND_OFFSET = 900, 901


def hostile_alert() -> Alert:
    """Return a fused alert of the golden day that rests on ticks, a chart, the hostile document and a call's sound."""
    fused = [alert for alert in day.stored().alerts if alert.finding.typology.startswith("elevated_risk")]
    found = next(a for a in fused if a.activity == "create" and a.subject.instrument == "JUNIPER.XTOC")
    inputs = [one for one in found.evidence.inputs if one.topic != "news"]
    inputs += [
        Input(topic=m.topic, partition=m.partition, offset=m.offset, sha256=hashlib.sha256(m.value).hexdigest())
        for m in _added(found.times.event_end)
    ]
    places = [
        *(place for place in found.explanation.attributions if place.topic == "charts"),
        # Cut through the tags, as words may be.
        Attribution(topic="news", locator="chars 4:12", weight=0.5, excerpt=HOSTILE[4:12]),
        Attribution(topic="news", locator="chars 40:62", weight=-0.25, excerpt=HOSTILE[40:62]),
        Attribution(topic="audio", locator="ms 500:1500", weight=0.4, excerpt="of its own score 0.77"),
        Attribution(topic="audio", locator="ms 2000:2500", weight=-0.1),
    ]
    return msgspec.structs.replace(
        found,
        modalities=found.modalities | {"audio": Modality(present=True, age_ns=SECOND_NS, score=0.77, weight=0.4)},
        explanation=msgspec.structs.replace(found.explanation, attributions=places),
        evidence=msgspec.structs.replace(
            found.evidence,
            inputs=inputs,
            history=[(found.times.event_end - 60 * SECOND_NS, 0.2), (found.times.event_end, found.finding.score)],
        ),
    )


def alerts() -> list[Alert]:
    """Return the golden day's alerts, the hostile one in the place of that which it was made of."""
    hostile = hostile_alert()
    return [hostile if alert.alert_id == hostile.alert_id else alert for alert in day.stored().alerts]


def recording(folder: Path) -> Recording:
    """Write the golden day again, with a hostile document and a call's sound in it, and labels."""
    golden = Recording.open(day.RECORDING).messages()
    added = _added(hostile_alert().times.event_end)
    with RecordingWriter(folder, source="test", parameters={}) as writer:
        for message in sorted([*golden, *added], key=lambda one: one.ts_available):
            writer.append(message)
        writer.add_labels(labels())
    return Recording.open(folder)


def misconduct_recording(folder: Path, name: str) -> Recording:
    """Write the example of a typology of orders: order frames and quotes of one instrument."""
    market = misconduct.market(name)
    framed = (frame_messages(frame) for frame in (market.orders(), market.ticks()))
    told = [record_message("news", one) for one in market.news]
    with RecordingWriter(folder, source="test", parameters={}) as writer:
        for message in sorted([*itertools.chain(*framed), *told], key=lambda one: one.ts_available):
            writer.append(message)
    return Recording.open(folder)


def spoofing_alert() -> Alert:
    """Return an alert about the account that spoofs in the example of it."""
    market = misconduct.market("spoofing")
    found = hostile_alert()
    begins, ends = market.ns(misconduct.AT + 1), market.ns(misconduct.AT + 44)
    return msgspec.structs.replace(
        found,
        subject=msgspec.structs.replace(found.subject, instrument=market.instrument, account="spoofer"),
        times=msgspec.structs.replace(found.times, event_start=begins, event_end=ends, available_at=ends),
    )


def labels() -> list[Label]:
    """Return labels of the golden day: one that was caught, one that was missed, a benign one."""
    pumped = next(
        alert
        for alert in day.stored().alerts
        if alert.finding.typology.startswith("pump_and_dump") and alert.subject.instrument == "TERRACE.XTOC"
    )
    onset = pumped.times.event_end - 30 * SECOND_NS
    return [
        _label("pump", "pump_and_dump", "TERRACE.XTOC", onset, public_ns=onset + 300 * SECOND_NS),
        _label("shock", "news_shock", "CINDER.XTOC", onset - 5_000 * SECOND_NS),
        _label("rise", "orderly_rise", "JUNIPER.XTOC", onset, benign=True),
    ]


def _label(
    event_id: str, typology: str, instrument: str, onset: int, *, public_ns: int = 0, benign: bool = False
) -> Label:
    return Label(
        event_id=event_id,
        typology=typology,
        start_ns=onset - 120 * SECOND_NS,
        onset_ns=onset,
        end_ns=onset + 600 * SECOND_NS,
        instruments=[instrument],
        public_ns=public_ns,
        benign=benign,
    )


def _added(event_end: int) -> list[Message]:
    ts = event_end - 10 * SECOND_NS
    shared = {"instrument": "JUNIPER.XTOC", "ts_event": ts, "ts_available": ts}
    document = News(
        **shared,
        document_id="hostile",
        headline=HOSTILE,
        body="\u202eIt cuts its outlook.",
        source="<b>wire</b>",
    )
    draw = np.random.default_rng(1)
    said = voices.speak(draw, voices.speaker(draw), voices.line(draw), 0.8, 3.0)
    sound = AudioSegment(
        **shared, call_id="call", segment=0, media_type="audio/wav", sample_rate_hz=SAMPLE_RATE_HZ, payload=wav(said)
    )
    return [
        dataclasses.replace(record_message("news", document), offset=HOSTILE_OFFSET),
        dataclasses.replace(record_message("audio", sound), offset=SOUND_OFFSET),
    ]


def material(held: Recording) -> Material:
    """Return what a report of the day is made of; its figures of many days are drawn, not measured."""
    told = alerts()
    return gather(a_backtest(told, held.labels(), held.first_ns, held.last_ns + 1), told, held)
