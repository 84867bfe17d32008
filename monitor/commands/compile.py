"""`tocsin compile`: plans for GPUs, built ahead of time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.options import BundleFolder, Cache
from monitor.errors import StartupError
from monitor.settings import load

if TYPE_CHECKING:
    from engines.plans import Key, Plan

app = typer.Typer()
ALL = "all"


@app.command(name="compile")
def compile_(
    bundle: BundleFolder = None,
    flavour: Annotated[
        str, typer.Option(help="`tensorrt-rtx`, or `tensorrt` on the GPU that is here.")
    ] = "tensorrt-rtx",
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the GPU to build for, such as 8.9; again for more, `all` for all that the flavour knows."
        ),
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="`fp32` or `fp16`; again for both.")] = None,
    cache: Cache = None,
) -> None:
    """Build the plans of a bundle's ONNX models ahead of time, so that no daemon has to when it starts.

    TensorRT-RTX builds for any GPU that it knows, on machines without one too; TensorRT for the one that is here, which
    is also what is built for if no compute capability is given. The daemon runs fp32 (without TF32), and takes a plan
    from the cache if all of it is as here: the model, the flavour's version, compute capability, precision, shapes, for
    TensorRT the driver too. What is stale or corrupt is built anew, by this command or when a daemon starts.

    A plan that was built here has not been run: `tocsin engines`, on the GPU, says whether it serves.

    Example: `tocsin compile --compute-capability 8.9 --compute-capability 12.0 --precision fp16`
    """
    from rich.console import Console
    from rich.progress import Progress

    from engines.bundle import DEFAULT, Bundle, BundleError
    from engines.cuda import CudaError
    from engines.plans import PLANS, PlanError, obtain
    from monitor.render import plain

    settings = load(bundle=bundle, cache=cache)
    asked = compute_capability or []
    try:
        loaded = Bundle.load(settings.bundle or DEFAULT)
        models = {name: loaded.read(name) for name in sorted(loaded.manifest.files) if name.endswith(".onnx")}
        wanted = [(name, key) for name, model in models.items() for key in _keys(model, flavour, asked, precision)]
    except (BundleError, PlanError, CudaError, OSError) as error:
        raise StartupError(str(error)) from error
    folder = settings.cache / PLANS
    console = Console()
    done = 0
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(wanted))
        for name, key in wanted:
            progress.update(task, description=f"{name}, {key.compute_capability}, {key.precision}")
            began_s = time.perf_counter()
            try:
                plan = obtain(models[name], key, folder)
            except PlanError as error:
                console.print(f"[red]✗[/] {name}: ", plain(str(error)), sep="", soft_wrap=True)
            except OSError as error:
                raise StartupError(f"{folder} cannot be written ({error}): name another --cache.") from error
            else:
                done += 1
                console.print(
                    "[green]✓[/] ", plain(told(name, plan, time.perf_counter() - began_s)), sep="", soft_wrap=True
                )
            progress.advance(task)
    console.print(f"{done} of {len(wanted)} plans are in {folder}, none was executed here", soft_wrap=True)
    if not done or (done < len(wanted) and ALL not in asked):
        raise typer.Exit(1)


def told(name: str, plan: Plan, seconds: float) -> str:
    """Return one line on a plan."""
    key = plan.key
    what = f"{name}: {key.flavour} {key.version}, compute capability {key.compute_capability}, {key.precision}"
    how = f"built in {seconds:.1f} s" if plan.built else "was there"
    why = f" ({plan.refused})" if plan.refused else ""
    return f"{what}: {how}{why}, {len(plan.content) / 1e6:.1f} MB, key {key.digest}"


def _keys(model: bytes, flavour: str, asked: list[str], precisions: list[str] | None) -> list[Key]:
    from engines import cuda
    from engines.plans import key_of, supported

    known = supported(flavour)
    if not asked:
        try:
            asked = [cuda.device().compute_capability]
        except cuda.CudaError as error:
            raise StartupError(
                f"There is no GPU here to build for ({error}): name --compute-capability, {', '.join(known)} or {ALL}."
            ) from error
    capabilities = known if ALL in asked else asked
    return [key_of(model, flavour, one, precision) for precision in precisions or ["fp32"] for one in capabilities]
