"""Plans: ONNX models compiled by TensorRT or TensorRT-RTX, and the folder that keeps them.

A plan is bound to much: its key names all of it. The folder holds for each model, flavour, compute capability and
precision one plan, a JSON sidecar with its key and digest, and a lock. What does not match the key asked for is stale,
what does not match its digest is corrupt; both are refused by name and built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engines import cuda, plan_builder
from schemas.errors import UNREADABLE

#: The folder of plans inside of the cache.
PLANS = "plans"
#: Flavour → the module that has its API; it is the same.
MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_EXTRAS = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
PRECISIONS = ("fp32", "fp16")
#: Name of a dimension → its least, usual and greatest size. The daemon runs up to eight texts at a time, often one.
PROFILE: dict[str, tuple[int, int, int]] = {"batch": (1, 6, 32), "time": (16, 32, 128)}
#: TensorRT-RTX compiles the plan's kernels when it is loaded: its plans are good for every driver.
ANY_DRIVER = "any"
_TIMEOUT_S = 900.0


class PlanError(RuntimeError):
    """A plan cannot be built; the message says why and what can."""


class PlanRefused(RuntimeError):
    """A kept plan may not be used: it is stale, corrupt or half there; the message names the file."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan is bound to. ``onnx`` is the model's SHA-256, weights included; ``profile`` as `PROFILE`."""

    onnx: str
    flavour: str
    version: str
    driver: str
    compute_capability: str
    precision: str
    profile: dict[str, tuple[int, int, int]]

    @property
    def digest(self) -> str:
        """Twelve hex digits of all parts."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The plan's file: what a later version or driver has of the same model takes its place."""
        capability = self.compute_capability.replace(".", "")
        return f"{self.onnx[:16]}-{self.flavour}-sm{capability}-{self.precision}.plan"


class Sidecar(msgspec.Struct, frozen=True):
    """What lies beside a plan: its key, and the SHA-256 and size of its bytes."""

    key: Key
    sha256: str
    size: int


class Plan(NamedTuple):
    """A plan's bytes. ``built`` tells that it was not kept before; ``refused`` why what was kept is not used, or ""."""

    content: bytes
    path: Path
    key: Key
    built: bool
    refused: str


def installed(flavour: str) -> None:
    """Raise `PlanError` where the flavour's package is not installed; nothing is loaded."""
    if flavour not in MODULES:
        raise PlanError(f"unknown flavour {flavour}; expected {' or '.join(MODULES)}")
    if importlib.util.find_spec(MODULES[flavour]) is None:
        raise PlanError(f"package {MODULES[flavour]} is not installed (extra: {_EXTRAS[flavour]})")


def api(flavour: str) -> Any:
    """Return the flavour's module; raise `PlanError` where it is not installed or does not load."""
    installed(flavour)
    try:
        return importlib.import_module(MODULES[flavour])
    except (ImportError, OSError) as error:
        raise PlanError(f"package {MODULES[flavour]} does not load ({error})") from error


def supported(flavour: str) -> list[str]:
    """Return the compute capabilities that the flavour builds for: TensorRT's is the GPU's that is here."""
    trt = api(flavour)
    if flavour == "tensorrt":
        return [cuda.device().compute_capability]
    numbers = [name.removeprefix("SM") for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    return [f"{number[:-1]}.{number[-1]}" for number in numbers]


def key_of(
    model: bytes,
    flavour: str,
    compute_capability: str,
    precision: str = "fp32",
    profile: Mapping[str, tuple[int, int, int]] = PROFILE,
) -> Key:
    """Return the key of a model's plan.

    Parameters
    ----------
    model
        An ONNX file's bytes, nothing of it outside.
    flavour
        "tensorrt" or "tensorrt-rtx".
    compute_capability
        Of the GPU that the plan is for, such as "8.9".
    precision
        "fp32" (without TF32) or "fp16".

    Raises
    ------
    PlanError
        The flavour is not here or does not build for the compute capability, or the precision is unknown.
    CudaError
        The flavour is TensorRT, and no GPU is here.

    Example
    -------
    >>> key_of(b"", "rtx", "8.9")
    Traceback (most recent call last):
    ...
    engines.plans.PlanError: unknown flavour rtx; expected tensorrt or tensorrt-rtx
    """
    trt = api(flavour)
    if precision not in PRECISIONS:
        raise PlanError(f"unknown precision {precision}; expected {' or '.join(PRECISIONS)}")
    if compute_capability not in (known := supported(flavour)):
        raise PlanError(
            f"{flavour} {trt.__version__} does not build for compute capability {compute_capability}, but for "
            f"{', '.join(known)}"
        )
    return Key(
        onnx=hashlib.sha256(model).hexdigest(),
        flavour=flavour,
        version=str(trt.__version__),
        driver=cuda.device().driver if flavour == "tensorrt" else ANY_DRIVER,
        compute_capability=compute_capability,
        precision=precision,
        profile=dict(profile),
    )


def build(model: bytes, key: Key, out: Path) -> None:
    """Build a plan into the file ``out``, in a process of its own; equal input gives equal bytes.

    Raises
    ------
    PlanError
        The parser or the builder refuses, crashes, or takes longer than a quarter of an hour.
    """
    request = plan_builder.Request(
        module=MODULES[key.flavour],
        compute_capability="" if key.flavour == "tensorrt" else key.compute_capability,
        precision=key.precision,
        profile={name: list(bounds) for name, bounds in key.profile.items()},
    )
    command = [sys.executable, "-P", plan_builder.__file__, json.dumps(request), str(out)]
    what = f"{key.flavour} {key.version}, compute capability {key.compute_capability}, {key.precision}"
    try:
        done = subprocess.run(command, input=model, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PlanError(f"{what}: no plan after {_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise PlanError(f"{what}: {said[-1] if said else f'the builder ended with code {done.returncode}'}")


def read(path: Path, key: Key) -> bytes:
    """Return the kept plan's bytes.

    Raises
    ------
    PlanRefused
        There is none; its key is not ``key`` (stale); its bytes are not those that its sidecar names (corrupt).
    """
    try:
        sidecar = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Sidecar)
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise PlanRefused(f"{Path(error.filename).name} is not there") from error
    except UNREADABLE as error:
        raise PlanRefused(f"{path.name} is corrupt: its sidecar does not read ({error})") from error
    if sidecar.key != key:
        was, now = msgspec.structs.asdict(sidecar.key), msgspec.structs.asdict(key)
        parts = ", ".join(f"{name} {was[name]} where {now[name]} is here" for name in now if was[name] != now[name])
        raise PlanRefused(f"{path.name} is stale: built for {parts}")
    if len(content) != sidecar.size:
        raise PlanRefused(f"{path.name} is corrupt: {len(content):,} bytes, its sidecar says {sidecar.size:,}")
    if (found := hashlib.sha256(content).hexdigest()) != sidecar.sha256:
        raise PlanRefused(f"{path.name} is corrupt: its SHA-256 is {found}, its sidecar says {sidecar.sha256}")
    return content


def obtain(model: bytes, key: Key, cache: Path, *, anew: bool = False, may_build: bool = True) -> Plan:
    """Return the plan of ``key`` out of the folder ``cache``, built first if it is not there or may not be used.

    This can take minutes: call it before serving begins. Processes that want the same plan wait for one of them to
    build it. ``anew`` builds in any case: for a plan that its runtime refuses.

    Raises
    ------
    PlanError
        The plan cannot be built, or would have to be and must not (``may_build``); others may write to the folder.
    OSError
        The folder cannot be written.

    Example
    -------
    >>> obtain(model, key_of(model, "tensorrt-rtx", "8.9"), Path("plans")).built  # doctest: +SKIP
    True
    """
    _require_own(cache)
    path = cache / key.name
    refused = "it was to be built anew"
    if not anew:
        try:  # without the lock: the folder may be one that is only read
            return Plan(read(path, key), path, key, False, "")
        except PlanRefused as reason:
            refused = str(reason)
    if not may_build:
        raise PlanError(f"{refused}; nothing is built while texts wait: `tocsin compile` builds ahead of time")
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_own(cache)
    with _locked(path.with_suffix(".lock")):
        if not anew:
            try:
                return Plan(read(path, key), path, key, False, "")
            except PlanRefused as reason:
                refused = str(reason) if path.exists() else ""
        part, said = path.with_suffix(".part"), path.with_suffix(".json.part")
        try:
            build(model, key, part)
            content = part.read_bytes()
            sidecar = Sidecar(key, hashlib.sha256(content).hexdigest(), len(content))
            said.write_bytes(msgspec.json.format(msgspec.json.encode(sidecar)) + b"\n")
            # Whoever reads between the two sees a plan that is not its sidecar's, and comes for the lock.
            part.replace(path)
            said.replace(path.with_suffix(".json"))
        finally:
            for half in (part, said):
                half.unlink(missing_ok=True)
    return Plan(content, path, key, True, refused)


def kept(cache: Path) -> list[Sidecar]:
    """Return the sidecars of the plans in a folder, in the order of their names; what does not read is left out."""
    found = []
    for path in sorted(cache.glob("*.json")):
        with contextlib.suppress(msgspec.DecodeError, OSError):
            found.append(msgspec.json.decode(path.read_bytes(), type=Sidecar))
    return found


def _require_own(cache: Path) -> None:
    """Raise `PlanError` where somebody else may write to a folder: a plan is code that its runtime executes."""
    if os.name != "posix" or not cache.exists():
        return
    found = cache.stat()
    groups = {os.getegid(), *os.getgroups()}  # a volume's group in Kubernetes is the pod's own
    shared = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid not in groups)
    if shared or found.st_uid not in (0, os.geteuid()):
        raise PlanError(
            f"{cache} may be written to by others ({stat.filemode(found.st_mode)}, owner {found.st_uid}), and plans are"
            f" code: chmod o-w,g-w, or name another folder by TOCSIN_CACHE"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # not on Windows, where the rest of the module is still asked for

    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file
        yield
