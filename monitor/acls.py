"""What each part of Tocsin must be allowed on a broker that denies everything else, and nothing more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from msgspec import Struct

from monitor.settings import Settings
from schemas.topics import ACCOUNT_INPUTS, HISTORY_INPUTS, INSTRUMENT_INPUTS, MARKET_INPUTS, TOPICS

Role = Literal["worker", "shadow", "gateway", "feed", "subscriber", "analyst", "officer", "operator", "recorder"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
ROLES: tuple[Role, ...] = get_args(Role)

#: What the commands are that each role runs.
RUNS: dict[Role, str] = {
    "worker": "tocsin run",
    "shadow": "tocsin models shadow",
    "gateway": "tocsin gateway",
    "feed": "producers of inputs, tocsin feed, tocsin simulate",
    "subscriber": "consumers of alerts, scores, signals and drift, tocsin alerts, tocsin drift",
    "analyst": "tocsin disposition",
    "officer": "tocsin rules publish; tocsin models promote, rollback, compare, review; tocsin retrain",
    "operator": "tocsin topics create, check; tocsin deadletters",
    "recorder": "tocsin record, replay and proofs from the broker",
}
#: What a worker keeps for itself: it writes and reads it.
_OWN = tuple(topic.name for topic in TOPICS if topic.name.endswith(("journal", "checkpoints")))
_INPUTS = (*INSTRUMENT_INPUTS, *ACCOUNT_INPUTS, *MARKET_INPUTS)


class Acl(Struct, frozen=True):
    """One ``operation`` that a role is allowed on a topic, a group or, with ``prefixed``, all whose names begin so."""

    resource: Literal["topic", "group"]
    name: str
    operation: Operation
    prefixed: bool = False


def acls(settings: Settings, role: Role) -> list[Acl]:
    """Return what a role needs with the prefix and the group of ``settings``; Describe comes with Read and Write."""

    def on(names: Iterable[str], *operations: Operation) -> list[Acl]:
        return [Acl("topic", settings.prefix + name, operation) for name in names for operation in operations]

    def under(prefix: str, *operations: Operation) -> list[Acl]:
        return [Acl("topic", settings.prefix + prefix, operation, prefixed=True) for operation in operations]

    def group(name: str, *, prefixed: bool = False) -> list[Acl]:
        return [Acl("group", name, "Read", prefixed)]

    everything = [topic.name for topic in TOPICS]
    match role:
        case "worker":
            from monitor.app import TOPICS as USED  # Faust comes with it

            # Alerts are read as well, to send none twice.
            gives = [name for name in USED if name not in {*HISTORY_INPUTS, "control"}]
            return on((*_INPUTS, *_OWN, "alerts", "control"), "Read") + on(gives, "Write") + group(settings.group)
        case "shadow":
            own = under("shadow.", "Read", "Write", "Create", "DescribeConfigs")
            return on((*HISTORY_INPUTS, "control"), "Read") + own + group(f"{settings.group}.shadow.", prefixed=True)
        case "gateway":
            packed = on(("frames", "news", "deadletters"), "Write")
            return on(("ticks", "documents"), "Read") + packed + group(f"{settings.group}-gateway")
        case "feed":
            return on(("ticks", "documents", *HISTORY_INPUTS), "Write")
        case "subscriber":
            return on(("alerts", "scores", "signals", "drift"), "Read") + group(f"{settings.group}-", prefixed=True)
        case "analyst":
            return on(("alerts", "reviews"), "Read") + on(("dispositions",), "Read", "Write")
        case "officer":
            compared = on(("alerts", "scores", "journal", "drift", "dispositions"), "Read") + under("shadow.", "Read")
            return on(("control",), "Read", "Write") + compared
        case "operator":
            made = under("", "Create", "Describe", "DescribeConfigs")
            return made + on(("deadletters",), "Read") + on(("ticks", "documents", *HISTORY_INPUTS), "Write")
        case "recorder":
            return on(everything, "Read")


def commands(settings: Settings, role: Role, principal: str) -> list[str]:
    """Return the calls of Kafka's own tool that allow a role to ``principal``, such as ``User:tocsin``."""
    by_resource: dict[tuple[str, str, bool], list[str]] = {}
    for acl in acls(settings, role):
        by_resource.setdefault((acl.resource, acl.name, acl.prefixed), []).append(acl.operation)
    return [
        f"kafka-acls.sh --bootstrap-server {settings.bootstrap} --command-config admin.properties --add"
        f" --allow-principal {principal} {' '.join(f'--operation {one}' for one in operations)}"
        f" --{resource} {name}{' --resource-pattern-type prefixed' if prefixed else ''}"
        for (resource, name, prefixed), operations in by_resource.items()
    ]
