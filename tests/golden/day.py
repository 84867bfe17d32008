"""Three instruments of a simulated day, and the alerts that they gave when somebody last looked at them.

Numbers are compared within the tolerance of `monitor.agreement`: the last digits of a text's score are the processor's
and the back end's. What agrees so far takes the stored number's place, so that the digest says whether all the rest is
the same, to the letter.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.simulator.day import Config
from monitor import agreement, simulation
from monitor.recording_writer import RecordingWriter
from monitor.recordings import Recording
from monitor.replay_history import by_history
from schemas.alerts import Alert, Provenance, digest
from schemas.topics import INSTRUMENT_INPUTS
from tests.integration.daemon import stages

FOLDER = Path(__file__).parent / "day"
RECORDING = FOLDER / "recording"
STORED = FOLDER / "alerts.json"
REWRITE = (
    "If this was meant: `python -m tests.golden.write --alerts` stores what is found now; read `git diff tests/golden` "
    "and say in the commit why."
)

#: Of this day, an instrument with a mistaken order, one with a pump and a call, one with bad news, the market's news.
CONFIG = Config(
    seed=6,
    hours=3,
    ticks_a_second=6,
    articles_an_hour=10,
    posts_an_hour=10,
    calls=3,
    typologies=("pump_and_dump", "market_anomaly", "news_shock"),
    strength=1.5,
)
INSTRUMENTS = ("JUNIPER.XTOC", "TERRACE.XTOC", "CINDER.XTOC", "market")


class Golden(msgspec.Struct, frozen=True):
    """Alerts, sorted as the digest sorts them, and their digest."""

    digest: str
    alerts: list[Alert]


def record() -> None:
    """Write the recording."""
    with tempfile.TemporaryDirectory() as folder:
        simulation.write(Path(folder) / "day", CONFIG, simulation.companies_of(SymbolMaster.load(DEFAULT_SYMBOLS)))
        messages = Recording.open(Path(folder) / "day").messages(INSTRUMENT_INPUTS)
        parameters = {"seed": CONFIG.seed, "instruments": " ".join(INSTRUMENTS)}
        with RecordingWriter(RECORDING, source="simulator", parameters=parameters) as writer:
            for message in messages:
                if message.key.decode() in INSTRUMENTS:
                    writer.append(dataclasses.replace(message, offset=-1))


def found() -> Golden:
    """Return what a replay of the recording gives now."""
    replayed = asyncio.run(by_history(Recording.open(RECORDING).messages(), stages()))
    assert not replayed.dead_letters
    return golden(replayed.alerts)


def golden(alerts: Sequence[Alert]) -> Golden:
    """Return alerts with their digest, without what says by which release and on which machine they were made."""
    bare = [
        msgspec.structs.replace(
            alert,
            provenance=Provenance(
                code_version="", config=alert.provenance.config, bundle=alert.provenance.bundle, mode="replay"
            ),
        )
        for alert in alerts
    ]
    bare.sort(key=lambda alert: (alert.times.available_at, alert.alert_id))
    return Golden(digest(bare), bare)


def stored() -> Golden:
    """Return what was stored."""
    return msgspec.json.decode(STORED.read_bytes(), type=Golden)


def store(what: Golden) -> None:
    """Store alerts in a form that `git diff` can show."""
    STORED.write_text(json.dumps(msgspec.to_builtins(what), indent=1, sort_keys=True) + "\n")


def settled(now: Sequence[Alert], then: Sequence[Alert]) -> list[Alert]:
    """Return the alerts of ``now`` with the numbers of ``then`` where both agree within the tolerance."""
    known = {alert.alert_id: alert for alert in then}
    return [
        msgspec.convert(agreement.settled(_plain(alert), _plain(known.get(alert.alert_id))), Alert) for alert in now
    ]


def _plain(alert: Alert | None) -> Any:
    return msgspec.json.decode(msgspec.json.encode(alert))


def differences(now: Sequence[Alert], then: Sequence[Alert]) -> list[str]:
    """Return a line for each alert that came, went or changed; ids alone are one line for all of them."""
    mine, theirs = _by_place(now), _by_place(then)
    told = [f"gone: {name}" for name in theirs.keys() - mine.keys()]
    told += [f"new: {name}" for name in mine.keys() - theirs.keys()]
    for name in mine.keys() & theirs.keys():
        a, b = mine[name], theirs[name]
        changed = [f"{d.path} was {d.theirs!r}, is {d.ours!r}" for d in agreement.changes(agreement.settled(a, b), b)]
        if changed:
            told.append(f"changed: {name}: {'; '.join(changed[:4])}{' …' if len(changed) > 4 else ''}")
    settings = {(alert.provenance.config, alert.provenance.bundle) for alert in now}
    if settings != {(alert.provenance.config, alert.provenance.bundle) for alert in then}:
        told.append("ids: another decision configuration or another bundle, so every id is another")
    return sorted(told)


def _by_place(alerts: Sequence[Alert]) -> dict[str, dict[str, Any]]:
    """Return alerts, without ids, by what they are about."""
    found = {}
    for alert in alerts:
        body = _plain(alert)
        for field in ("alert_id", "episode_id", "fingerprint", "provenance"):
            del body[field]
        name = (
            f"{alert.finding.typology} {alert.activity} of {alert.subject.instrument} at {alert.times.event_end} "
            f"(revision {alert.revision})"
        )
        found[name] = body
    return found
