"""`tocsin train bundle`, `pump_trades` and `turmoil`: what a replay of later times is decided by."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from monitor.commands import training
from monitor.errors import StartupError
from monitor.folders import Folder

#: What can be trained on the time before a date, and the file or folder that it makes.
UNTIL = ("bundle", "pump_trades", "turmoil")


def until(what: str, data: Path, day: str | None, out: Path, *, charts: bool) -> None:
    """Train ``what`` on the time before ``day``, write it to ``out`` and say how a replay uses it.

    Raises
    ------
    StartupError
        The day is none, there is something at ``out``, or the data do not do.
    """
    if day is None:
        raise StartupError(f"{what} needs --until DATE, such as 2015-06-01: nothing from then on is learnt from.")
    try:
        at = date.fromisoformat(day)
    except ValueError as error:
        raise StartupError(f"--until: expected a date such as 2015-06-01, found {day!r}.") from error
    if out.exists():
        raise StartupError(f"{out} is there: remove it or name another --out.")
    if what == "bundle":
        _bundle(data, at, out, charts)
    elif what == "turmoil":
        _turmoil(data, at, out)
    else:
        _pump(data, at, out)


def _bundle(data: Path, day: date, out: Path, charts: bool) -> None:
    with training.extra():
        from engines.bundle import DEFAULT, Bundle
        from engines.training.build import STOCKS, build_until
        from engines.training.split import SplitError
    from rich.console import Console

    from monitor.settings import load
    from monitor.trust import signed

    if missing := [name for name in STOCKS if not (data / name).is_file()]:
        raise StartupError(f"{data} lacks {', '.join(missing)}: expected the folder that holds stocknet's.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with training.bar() as progress:
        try:
            made = build_until(data, day, out, Bundle.load(DEFAULT), progress, charts=charts)
        except SplitError as error:
            raise StartupError(f"--until: {error}.") from error
    console = Console(highlight=False)
    for note in made.manifest.parts["fusion"].notes[:2]:
        console.print(note)
    for source in made.manifest.lineage:
        console.print(f"{source.stage} on {source.name}: {source.window}")
    console.print(f"{out}: bundle {made.id}; replay what follows {day} with --bundle {out}", soft_wrap=True)
    if (settings := load(None)).bundle_key_file:
        console.print(f"It is signed by {signed(out, settings)}.")
    else:
        console.print(f"Before it serves, sign it: `tocsin bundle sign {out} --key KEY`.", soft_wrap=True)


def _pump(data: Path, day: date, out: Path) -> None:
    with training.extra():
        from engines.training.pump import CHOICES, PumpError, train
    from rich.console import Console

    from engines.thresholds import write_pump

    folder = data / "pump_trades" if (data / "pump_trades").is_dir() else data
    with training.bar() as progress:
        task = progress.add_task("files", total=None)
        try:
            found = train(folder, day, lambda done, of: progress.update(task, completed=done, total=of))
        except PumpError as error:
            raise StartupError(f"{error}.") from error
    Folder(out.parent).write(out.name, write_pump(found))
    console = Console(highlight=False)
    console.print(f"{found.source.note} They span {found.source.window}.", soft_wrap=True)
    console.print(", ".join(f"{name} {getattr(found.thresholds, name):g}" for name in CHOICES))
    console.print(f"{out}: replay what follows with `pump = {out.name!r}` in a file for --config", soft_wrap=True)


def _turmoil(data: Path, day: date, out: Path) -> None:
    from rich.console import Console

    from engines.text_labels import NAME, encoder_digest, make
    from monitor.commands.labels import load_encoder, vectors_of
    from monitor.labels import write_label
    from monitor.settings import load
    from monitor.turmoil import BUDGET, before

    if out.suffix != ".json" or not NAME.fullmatch(out.stem):
        raise StartupError(f"--out: expected a label's file such as labels/turmoil.json, found {out}.")
    folder = data / "maec" if (data / "maec").is_dir() else data
    said, settings = before(folder, day), load(None)
    bundle, encoder = load_encoder(settings)
    vectors = vectors_of(encoder, [*said.followed, *said.calm])
    source = said.source(folder)
    try:
        file = make(
            name=out.stem,
            title="Said as before turmoil",
            severity="info",
            budget=BUDGET,
            bundle=bundle.id,
            encoder=encoder_digest(bundle, settings.precision),
            examples=vectors[: len(said.followed)],
            background=vectors[len(said.followed) :],
            source=source,
        )
    except ValueError as error:
        raise StartupError(f"{folder}: nothing can be learnt of the calls before {day} ({error}).") from error
    write_label(out, file)
    console = Console(highlight=False)
    console.print(f"{source.note} They span {source.window}.", soft_wrap=True)
    console.print(
        f"{out}: replay what follows with `labels = {out.parent.name!r}` in a file for --config", soft_wrap=True
    )
