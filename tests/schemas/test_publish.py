"""What is published is what the table of topics says, and what is on the wire satisfies it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from engines.rule_schema import json_schema
from schemas import media, publish
from schemas.topics import BY_NAME, TOPICS
from tests.golden.examples import EXAMPLES, Example

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"


def test_committed_documents_are_those_of_the_table_and_of_rules() -> None:
    documents = publish.documents() | {"rules.json": publish.published(json_schema())}
    assert {path.name for path in PUBLISHED.iterdir()} == set(documents)
    for name, content in documents.items():
        assert (PUBLISHED / name).read_bytes() == content, f"{name}: run `make schemas`"


def _published(topic: str) -> Any:
    return json.loads(publish.documents()[f"{topic}.json"])


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS if topic.records])
def test_schemas_are_draft_2020_12(topic: str) -> None:
    Draft202012Validator.check_schema(_published(topic))


@pytest.mark.parametrize(
    "example",
    [e for e in EXAMPLES if e.topic and type(e.record) in BY_NAME[e.topic].records],
    ids=lambda example: example.name,
)
def test_released_messages_satisfy_the_published_schema(example: Example) -> None:
    value = example.encoded()
    if BY_NAME[example.topic].codec == "media":
        value, _ = media.split(value)
    Draft202012Validator(_published(example.topic)).validate(json.loads(value))


def test_a_negative_price_does_not_satisfy_the_published_schema() -> None:
    trade = {"type": "trade", "ts_event": 1, "instrument": "ACME.XTOC", "price": -1.0, "size": 1.0}
    assert not Draft202012Validator(_published("ticks")).is_valid(trade)


def test_asyncapi_names_every_topic_and_its_references_lead_somewhere() -> None:
    documents = publish.documents()
    body = json.loads(documents["asyncapi.json"])
    assert body["asyncapi"] == "3.0.0"
    assert {channel["address"] for channel in body["channels"].values()} == {f"tocsin.{t.name}" for t in TOPICS}

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [node["$ref"]] if "$ref" in node else [r for held in node.values() for r in references(held)]
        return [r for held in node for r in references(held)] if isinstance(node, list) else []

    for reference in references(body):
        if reference.startswith("./"):
            assert reference[2:] in documents
        else:
            target = body
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
    assert body["channels"]["checkpoints"]["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] == ["compact"]
