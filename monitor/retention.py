"""How long topics keep messages: the table's times, or those of TOCSIN_RETENTION."""

from __future__ import annotations

from monitor.errors import StartupError
from monitor.when import duration_ns
from schemas.topics import BY_NAME, Topic

#: What is kept shorter could be gone before a worker that comes back has read it.
LEAST_MS = 3_600_000
_SETTING = "TOCSIN_RETENTION"


def retentions_ms(text: str) -> dict[str, int]:
    """Return the times that a setting gives, ms by topic.

    Raises
    ------
    StartupError
        There is no such topic, it keeps the latest message of each key or all of them, or a time is none or too short.

    Example
    -------
    >>> retentions_ms("orders=2d, transfers=36h")
    {'orders': 172800000, 'transfers': 129600000}
    """
    found: dict[str, int] = {}
    for part in text.replace(",", " ").split():
        name, _, length = part.partition("=")
        topic = BY_NAME.get(name)
        if topic is None or topic.retention_ms < 0 or name in found:
            ending = [one.name for one in BY_NAME.values() if one.retention_ms >= 0]
            raise StartupError(
                f"{_SETTING}: expected NAME=TIME, each once, of {', '.join(ending)}, found {part!r}; the others keep"
                " what they hold, for a worker could not go on without."
            )
        found[name] = duration_ns(length, f"{_SETTING}, {name}") // 1_000_000
        if found[name] < LEAST_MS:
            raise StartupError(
                f"{_SETTING}, {name}: expected 1h at least, found {length}; a worker reads again what it has not got on"
                " with."
            )
    return found


def retention_ms(topic: Topic, text: str) -> int:
    """Return how long a topic keeps messages by a setting, ms; -1 for ever."""
    return retentions_ms(text).get(topic.name, topic.retention_ms)
