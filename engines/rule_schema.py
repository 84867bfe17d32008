"""The JSON Schema of rule files, by which editors complete them: made from the types and the library of typologies."""

from __future__ import annotations

from typing import Any

import msgspec

from engines.library import defaults, library, meanings, of_accounts
from engines.rule_text import MOST, duration, written
from engines.rules import DURATION_PATTERN, LABEL_PREFIX, RuleFile


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of rule files, every typology with its parameters and their defaults."""
    body = msgspec.json.schema(RuleFile)
    parts = {name: _as_written(part) for name, part in body["$defs"].items()}
    parts["RuleFile"]["properties"]["typologies"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"$ref": f"#/$defs/typology_{name}"} for name in library()},
    }
    override = parts.pop("Override")
    for name, known in library().items():
        spec = known.spec
        usual = {
            "open": spec.open,
            "critical": spec.critical,
            "close": spec.close,
            "hold": duration(spec.hold_ns),
            "severity": spec.opens_as,
            "enabled": True,
        }
        own = {
            field: schema | ({"default": usual[field]} if field in usual else {})
            for field, schema in override["properties"].items()
            if field != "budget" or known.scope == "instrument"
        }
        own["parameters"] = _parameters(known.config, parts)
        parts[f"typology_{name}"] = override | {
            "title": f"{spec.name}@{spec.version}",
            "description": known.definition,
            "properties": own,
        }
    heard = [name for name, known in library().items() if known.scope == "instrument"]
    parts["Scenario"]["properties"]["weights"]["anyOf"] = [
        {"propertyNames": {"anyOf": [{"enum": heard}, {"pattern": f"^{LABEL_PREFIX}"}]}},
        {"propertyNames": {"enum": sorted(of_accounts())}},
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tocsin rules",
        "description": "Rules that a compliance officer may change: `tocsin rules check FILE`.",
        "$ref": body["$ref"],
        "$defs": parts,
    }


def _as_written(part: Any) -> Any:
    """Return a schema of values as the schema of how they are written: times as text, nothing as null."""
    if isinstance(part, list):
        return [_as_written(one) for one in part]
    if not isinstance(part, dict):
        return " ".join(part.split()) if isinstance(part, str) else part
    if "anyOf" in part:
        return _as_written(part["anyOf"][0])
    found = {name: _as_written(value) for name, value in part.items()}
    if found.get("pattern") == DURATION_PATTERN or found.get("format") == "date-time":
        found["type"] = "string"
        usual = found.pop("default", 0)
        return found | ({"default": duration(usual)} if usual else {})
    return found


def _parameters(config: type[msgspec.Struct] | None, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a typology's parameters; what those refer to is added to ``parts``."""
    if config is None:
        return {"type": "object", "additionalProperties": False, "properties": {}}
    _, found = msgspec.json.schema_components([config], ref_template="#/$defs/{name}")
    given, usual, units = found.pop(config.__name__)["properties"], defaults(config), meanings(config)
    parts.update(found)
    properties = {
        written(name, 0)[0]: {"type": "string", "pattern": DURATION_PATTERN, "default": duration(usual[name])}
        if name.endswith("_ns")
        else schema | ({"maximum": MOST[unit]} if (unit := units.get(name, ("", ""))[0]) in MOST else {})
        for name, schema in given.items()
    }
    told = " ".join((config.__doc__ or "").split())
    return {"type": "object", "description": told, "additionalProperties": False, "properties": properties}
