"""The chart, what it renders for a small matrix of values, and the part of its schema that the settings give."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from monitor.cli import COMMANDS
from monitor.settings import SERVERS, Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "tocsin"
SCHEMA = CHART / "values.schema.json"
GOLDEN = Path(__file__).parent / "golden"
#: Name of a set of values → its file.
MATRIX = {path.stem: path for path in sorted((Path(__file__).parent / "values").glob("*.yaml"))}
#: Settings that the chart itself gives: by the pod's name, and as files from `kafka`.
OWN = {
    "worker_name",
    "sasl_password",
    *("sasl_password_file", "sasl_token_file", "ssl_ca_file", "ssl_certificate_file", "ssl_key_file"),
}
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "minLength", "pattern", "description")


def helm(*arguments: str | Path) -> str:
    """Return what helm prints; raise CalledProcessError with its ``stderr`` where it refuses."""
    return subprocess.run(["helm", *arguments], check=True, capture_output=True, text=True).stdout


def render(values: Path, *more: str) -> str:
    """Return the manifests for a file of values, hooks and tests too."""
    return helm("template", "tocsin", CHART, "--namespace", "market", "--values", values, *more)


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of `config`: the settings, by name, but for those that the chart gives."""
    found = {}
    for name, field in Settings.model_json_schema()["properties"].items():
        if name not in OWN:
            field |= next((one for one in field.get("anyOf", []) if one["type"] != "null"), {})
            found[name] = {key: field[key] for key in _KEPT if key in field}
    found["bootstrap"]["pattern"] = SERVERS
    found["http_port"]["minimum"] = 1  # a free port would be nobody's to ask
    found["http_host"]["not"] = {"pattern": r"^(127\.|localhost$|::1$)"}  # nor would a pod's own loopback
    return found


def schema() -> str:
    """Return the schema's text with the settings and the commands of now."""
    text = json.loads(SCHEMA.read_text())
    text["definitions"]["config"]["properties"] = config_schema()
    text["definitions"]["job"]["properties"]["args"] |= {
        "items": [{"enum": list(COMMANDS)}],
        "additionalItems": {"type": "string"},
    }
    return json.dumps(text, indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """Return what helm-docs makes of the chart."""
    made = [
        "helm-docs",
        "--chart-search-root",
        CHART,
        "--dry-run",
        "--log-level",
        "error",
        "--sort-values-order",
        "file",
    ]
    return subprocess.run(made, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    SCHEMA.write_text(schema())
    (CHART / "README.md").write_text(readme())
    for name, values in MATRIX.items():
        (GOLDEN / f"{name}.yaml").write_text(render(values))
