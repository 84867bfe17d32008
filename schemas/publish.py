"""JSON Schemas (draft 2020-12) and an AsyncAPI 3.0 document, made from the table of topics.

``python -m schemas.publish docs/schemas`` writes one schema a topic whose values are JSON (for sound and pictures: of
their header), and ``asyncapi.json``. The files are the same for the same table.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas import frames, order_frames
from schemas.topics import TOPICS, Codec, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Names of topics with the prefix that is the default.
PREFIX = "tocsin."
_CONTENT_TYPES = {
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "media": "application/octet-stream",
    "bytes": "application/octet-stream",
}
_ENVELOPES = {
    "arrow": frames.__doc__,
    "media": "A 4-byte big-endian length, a header in JSON of that length (this schema), then the file's bytes.",
    "bytes": "Tocsin's own; no reader but the monitor.",
}


def schema(topic: Topic) -> dict[str, Any]:
    """Return the JSON Schema of a topic's values; of their header where they are sound or pictures."""
    of = topic.records[0]
    for record in topic.records[1:]:
        of = of | record  # type: ignore[assignment]
    body = msgspec.json.schema(of)
    if topic.codec == "media":
        for definition in body["$defs"].values():
            definition["properties"].pop("payload", None)
    return {"$schema": DIALECT, "title": PREFIX + topic.name, "description": topic.doc, **body}


def _messages(topic: Topic) -> dict[str, dict[str, Any]]:
    """Return a topic's messages by name: one, or a record and a frame where it takes either."""
    if topic.codec == "json or arrow":
        named = {"name": f"{topic.name}.frame", "description": order_frames.__doc__}
        frame = {**_message(topic, "arrow"), **named}
        del frame["payload"]
        return {topic.name: _message(topic, "json"), f"{topic.name}.frame": frame}
    return {topic.name: _message(topic, topic.codec)}


def _message(topic: Topic, codec: Codec) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": topic.name,
        "summary": topic.doc,
        "contentType": _CONTENT_TYPES[codec],
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
    }
    if codec in _ENVELOPES:
        message["description"] = _ENVELOPES[codec]
    if topic.records:
        message["payload"] = {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./{topic.name}.json"},
        }
    return message


def _channel(topic: Topic) -> dict[str, Any]:
    policy = "compact" if topic.compacted else "delete"
    return {
        "address": PREFIX + topic.name,
        "description": f"{topic.doc} Key: {topic.key}. Scope: {topic.scope}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(topic)},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [policy], "retention.ms": topic.retention_ms}}},
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of all topics."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tocsin",
            "version": "1",
            "description": f"Topics of a streaming risk monitor. The prefix `{PREFIX}` is a setting.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "components": {"messages": {name: one for topic in TOPICS for name, one in _messages(topic).items()}},
    }


def documents() -> dict[str, bytes]:
    """Return every published file by its name."""
    found: dict[str, Any] = {f"{topic.name}.json": schema(topic) for topic in TOPICS if topic.records}
    found["asyncapi.json"] = asyncapi()
    return {name: published(body) for name, body in found.items()}


def published(body: dict[str, Any]) -> bytes:
    """Return a document's bytes, the same for the same content."""
    return msgspec.json.format(msgspec.json.encode(body, order="deterministic"), indent=2) + b"\n"


def main(directory: Path) -> None:
    """Write every document into a directory, which is made where it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        (directory / name).write_bytes(content)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one directory; try: python -m schemas.publish docs/schemas")
    main(Path(sys.argv[1]))
