"""`tocsin engines`: which back end runs the models here, why, and what each costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from monitor.commands.options import BundleFolder, Cache
from monitor.errors import StartupError
from monitor.settings import load

if TYPE_CHECKING:
    from rich.table import Table

    from engines.bundle import Bundle
    from engines.inference import Precision

app = typer.Typer()
TOKENS = 32
_WARM = 3
#: What each member of a bundle is of.
OF = {"text": "news, posts, calls", "chart": "chart snapshots", "voice": "the sound of calls", "fusion": "all of them"}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A back end: ``reason`` why it does not serve, or "" and what it costs. ``ran`` tells that it could run.

    ``open_s`` is the time from the model's bytes to a session that has passed the parity gate, ``p50_ms`` the median
    time of a text of 32 tokens, tokenizing included; ``plans`` are those of its flavour in the cache.
    """

    backend: str
    reason: str = ""
    ran: bool = True
    version: str = ""
    precision: str = ""
    difference: float = 0.0
    open_s: float = 0.0
    p50_ms: float = 0.0
    plans: list[str] = []
    chosen: bool = False


@app.command()
def engines(
    bundle: BundleFolder = None,
    cache: Cache = None,
    runs: Annotated[int, typer.Option(min=1, help="Texts that are timed on each back end.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")] = False,
) -> None:
    """Show the back ends in the order in which the daemon looks for one: what is chosen and why, and what each costs.

    Each back end that is here is given the bundle's text encoder, has to agree with the reference (ONNX Runtime on the
    CPU, fp32) on a sentence of every length that is served, and encodes a text of 32 tokens on one thread some times
    over; shown is the median. The first that passes is what `tocsin run` takes. For those that are not here the reason
    stands instead; plans that `tocsin compile` has built for them are `built, not executed`. Below, each member of the
    bundle with the back end that it runs on.

    Example: `tocsin engines --runs 200`
    """
    from rich.console import Console
    from rich.table import Table

    from engines.bundle import DEFAULT, Bundle, BundleError
    from engines.inference import ORDER
    from monitor.render import plain

    settings = load(bundle=bundle, cache=cache)
    console = Console(stderr=as_json)
    try:
        loaded = Bundle.load(settings.bundle or DEFAULT)
        with console.status("") as status:
            found = survey(loaded, settings.cache, runs, lambda name: status.update(f"{name} …"), settings.precision)
    except (BundleError, OSError) as error:
        raise StartupError(str(error)) from error
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    table = Table("", "back end", "version", "precision", "from the reference", "opens in", "a text", box=None)
    for one in found:
        if one.reason:
            table.add_row("[dim]–", f"[dim]{one.backend}")
            continue
        away = "is it" if one.backend == ORDER[-1] else f"{one.difference:.1e}"
        table.add_row(
            "[green]✓" if one.chosen else "",
            f"[bold]{one.backend}" if one.chosen else one.backend,
            one.version,
            one.precision,
            away,
            f"{one.open_s:.1f} s",
            f"{one.p50_ms:.2f} ms",
        )
    console.print(table)
    console.print()
    for one in found:
        if one.reason:
            console.print(f"[dim]–[/] {one.backend}: ", plain(one.reason), _of_plans(one), sep="", soft_wrap=True)
    chosen = next(one.backend for one in found if one.chosen)
    why = (
        "the reference, for no other is here and agrees with it"
        if chosen == ORDER[-1]
        else "the first in this order that is here and agrees with the reference"
    )
    console.print(f"[green]✓[/] {chosen} serves: {why} (a text: {TOKENS} tokens, median of {runs})", soft_wrap=True)
    console.print()
    console.print(_members(loaded, settings.cache, settings.precision))


def _members(bundle: Bundle, cache: Path, precision: Precision) -> Table:
    """Return which back end each member of the bundle runs on, as the daemon opens them."""
    from rich.table import Table

    from engines.fusion import FusionModel
    from monitor.encoding import load_members

    table = Table("member", "of", "runs on", "precision", "from the reference", box=None)
    members = load_members(bundle, fused=(), cache=cache, precision=precision)
    sessions = {**members.sessions, "fusion": FusionModel(bundle).session}
    for name, session in sessions.items():
        away = "is it" if session.equality == "reference" else f"{session.difference:.1e}"
        table.add_row(name, OF[name], session.backend, session.precision, away)
    return table


def survey(
    bundle: Bundle,
    cache: Path,
    runs: int,
    doing: Callable[[str], None] = lambda _: None,
    precision: Precision = "fp32",
) -> list[Found]:
    """Return what each back end is, in the order of `engines.inference`; ``doing`` is told the name of the next."""
    from engines.bundle import BundleError
    from engines.inference import ORDER
    from engines.plans import PLANS, kept
    from engines.text import TextEncoder, spec_of

    spec = spec_of(bundle)
    if TOKENS not in spec.lengths:
        raise BundleError(f"{bundle.path / 'text.json'} serves lengths {spec.lengths}: expected {TOKENS} among them")
    text = spec.probes[spec.lengths.index(TOKENS)]
    plans = kept(cache / PLANS)
    found: list[Found] = []
    for name in ORDER:
        doing(name)
        began_s = time.perf_counter()
        encoder = TextEncoder(bundle, [name], plans=cache / PLANS, precision=precision)
        open_s, session = time.perf_counter() - began_s, encoder.session
        mine = [
            f"sm{p.key.compute_capability.replace('.', '')}-{p.key.precision}" for p in plans if p.key.flavour == name
        ]
        version = session.version
        taken_s: list[float] = []
        while session.backend == name and len(taken_s) < _WARM + runs:
            taken_s.append(_seconds(lambda encoder=encoder: encoder.encode(text)))  # type: ignore[misc]
        if session.backend != name:  # it is not here, does not agree, or failed at one of these texts
            skip = session.skipped[-1]
            found.append(Found(backend=name, reason=skip.reason, ran=skip.ran, plans=mine))
            continue
        found.append(
            Found(
                backend=name,
                version=version,
                precision=session.precision,
                difference=session.difference,
                open_s=round(open_s, 3),
                p50_ms=round(statistics.median(taken_s[_WARM:]) * 1000, 3),
                plans=mine,
                chosen=all(one.reason for one in found),
            )
        )
    return found


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _of_plans(found: Found) -> str:
    return f"; plans built, not executed: {', '.join(found.plans)}" if found.plans and not found.ran else ""
