"""Fuzz each decoder by coverage (Atheris, libFuzzer), one after the other.

    make fuzz SECONDS=60                                # each for a minute
    make fuzz SECONDS=600 ARGS="rules onnx"             # two of them for ten

What breaks one is kept as build/fuzz/TARGET-crash-…; put it into tests/fuzz/found once it is mended, where every run
of the tests tries it. Exit code 1 where anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "fuzz"
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    """Fuzz what is asked for, each in a process of its own, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="of each")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return _one(options.one, options.seconds)
    from tests.fuzz.targets import TARGETS

    found = 0
    print(f"{'target':<10}{'executions':>12}{'seconds':>9}{'coverage':>10}  findings")
    for name in options.targets or TARGETS:
        command = [sys.executable, "-m", "tests.fuzz.run", "--one", name, "--seconds", str(options.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT)
        (FOLDER / f"{name}.log").write_text(done.stdout + done.stderr)
        runs, covered = _DONE.search(done.stderr), _COVERED.findall(done.stderr)
        crashes = sorted(path.name for path in FOLDER.glob(f"{name}-*"))
        broken = crashes or ([] if runs else [f"no end, see build/fuzz/{name}.log"])
        found += len(broken)
        executions, seconds = runs.groups() if runs else ("?", "?")
        print(f"{name:<10}{executions:>12}{seconds:>9}{covered[-1] if covered else '?':>10}  {', '.join(broken) or 0}")
    return int(found > 0)


def _one(name: str, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["engines", "schemas"]):
        from tests.fuzz.targets import TARGETS
    target, corpus = TARGETS[name], FOLDER / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    asked = [f"-max_total_time={seconds}", "-max_len=16384", "-timeout=20", "-rss_limit_mb=4096", "-seed=1"]
    atheris.Setup([sys.argv[0], *asked, f"-artifact_prefix={FOLDER / name}-", str(corpus)], target.run)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
