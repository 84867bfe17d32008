"""What the documents name is there: commands with their options, modules, settings, targets, and where links lead."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from monitor.cli import app
from monitor.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT)
    for folder in ("", "bundles/*/", "docs/**/", "examples/**/", "helm/**/")
    for path in ROOT.glob(f"{folder}*.md")
)
PACKAGES = ("schemas", "engines", "agents", "monitor", "benchmarks", "tests")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


@cache
def text(page: Path) -> str:
    return (ROOT / page).read_text()


@cache
def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links, as GitHub calls them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", _FENCE.sub("", text(page)), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def commands(prose: str) -> list[list[str]]:
    """Return the words of each `tocsin …` of a page, or of a command's help, in its blocks and in its text."""
    blocks = "\n".join(block for language, block in _FENCE.findall(prose) if language == "sh")
    lines = [line.strip() for line in blocks.replace("\\\n", " ").splitlines()]
    inline = [" ".join(found.split()) for found in re.findall(r"`(tocsin [^`]+)`", _FENCE.sub("", prose))]
    return [shlex.split(line, comments=True)[1:] for line in lines + inline if line.startswith("tocsin ")]


def lacking(words: list[str]) -> str:
    """Return what a command line names that is not there, "" where all is."""
    command: Any = typer.main.get_command(app)
    if words[0] == "--version":
        return ""
    while hasattr(command, "get_command") and words:
        # As the group reads them: one may take what names no command for the argument of its usual one.
        context = command.make_context(None, list(words), resilient_parsing=True)
        if not (rest := [*context._protected_args, *context.args]):
            break
        found = command.get_command(context, rest[0])
        if found is None:
            return "" if rest[0] in ("…", "COMMAND") else rest[0]
        command, words = found, rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = {re.split(r"[=,;]", word)[0] for word in words if re.match(r"--\w", word)}
    return ", ".join(sorted(named - known - {"--help"}))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", text(page))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        to = (page.parent / file if file else page, anchor)
        target = (ROOT / to[0]).resolve().relative_to(ROOT)
        assert (ROOT / target).exists(), f"{link} leads to no file"
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), f"{link} names no heading"


@pytest.mark.parametrize("page", [page for page in PAGES if commands(text(page))], ids=str)
def test_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    assert {" ".join(words): missing for words in commands(text(page)) if (missing := lacking(words))} == {}


def test_modules_that_are_to_be_run_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"python -m ([\w.]+)", text(page))}
    ours = {name for name in named if name.split(".")[0] in PACKAGES}
    assert ours
    paths = {name: ROOT / name.replace(".", "/") for name in ours}
    assert [
        name for name, at in paths.items() if not (at.with_suffix(".py").exists() or (at / "__main__.py").exists())
    ] == []


def test_targets_that_are_named_are_made() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text(page), re.MULTILINE)}
    assert named
    assert named <= targets


def test_variables_that_are_named_are_read() -> None:
    """A setting, or what a program beside the daemon reads; decisions may name what was decided against."""
    read = {f"TOCSIN_{name.upper()}" for name in Settings.model_fields}
    sources = subprocess.run(
        ["git", "grep", "-hoE", "TOCSIN_[A-Z_]+[A-Z]", "--", "*.py", "*.sh", "*.yaml", "Makefile", "Dockerfile", ".ci"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    read |= set(sources.stdout.split())
    pages = [page for page in PAGES if page.parent.name != "decisions"]
    named = {(str(page), name) for page in pages for name in re.findall(r"TOCSIN_[A-Z_]*[A-Z](?![A-Z*_])", text(page))}
    assert {(page, name) for page, name in named if name not in read} == set()
