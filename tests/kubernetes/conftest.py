"""Tests on a real Kubernetes take KUBECONFIG, TOCSIN_TEST_BOOTSTRAP and TOCSIN_TEST_IMAGE as they find them.

What is done to the broker, TOCSIN_TEST_BROKER_KILL, _START, _CUT and _MEND say: each a command line that returns once
it is done.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.settings import Settings
from tests.integration.daemon import stages
from tests.kubernetes.cluster import Release, release
from tests.kubernetes.page import Tell, row


@pytest.fixture
def image() -> str:
    """The image, as the node knows it; without one, a cluster, a broker that both reach, or the programs: skip."""
    missing = [
        *(name for name in ("KUBECONFIG", "TOCSIN_TEST_BOOTSTRAP", "TOCSIN_TEST_IMAGE") if not os.environ.get(name)),
        *(program for program in ("kubectl", "helm") if shutil.which(program) is None),
    ]
    if missing:
        told = f"no Kubernetes to install on: {', '.join(missing)} not given"
        pytest.fail(told) if os.environ.get("TOCSIN_REQUIRE_KUBERNETES") == "1" else pytest.skip(told)
    return os.environ["TOCSIN_TEST_IMAGE"]


@pytest.fixture
def to_broker() -> Callable[[str], None]:
    """Does something to the broker: "KILL", "START", "CUT" or "MEND"; skip where nobody says how."""
    commands = {what: os.environ.get(f"TOCSIN_TEST_BROKER_{what}", "") for what in ("KILL", "START", "CUT", "MEND")}
    if missing := [f"TOCSIN_TEST_BROKER_{what}" for what, command in commands.items() if not command]:
        pytest.skip(f"nobody says how the broker is killed or cut off: {', '.join(missing)} not given")

    def do(what: str) -> None:
        subprocess.run(commands[what], shell=True, check=True, stdout=subprocess.DEVNULL, timeout=120)

    return do


@pytest.fixture(autouse=True)
def _as_the_image_has_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replay on the image's back end: OpenVINO, which it leaves out, gives other last digits."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    stages.cache_clear()
    yield
    stages.cache_clear()


@pytest.fixture
def installed(image: str, tmp_path: Path) -> Iterator[Release]:
    """The chart installed, two workers ready, topics empty."""
    prefix = f"tocsin-test-{uuid.uuid4().hex[:8]}."
    settings = Settings(
        bootstrap=os.environ["TOCSIN_TEST_BOOTSTRAP"],
        prefix=prefix,
        group=f"{prefix}group",
        partitions=4,
        clock="data",
        checkpoint_interval_s=1.0,
    )
    with release(settings, image, tmp_path) as made:
        serves, wanted = json.loads(made.get(0, "/readyz"))["config"], stages().about["config"]
        assert serves == wanted, f"{image} is of another tree: it decides by {serves}, this checkout by {wanted}"
        yield made


@pytest.fixture
def tell(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[Tell]:
    """Tells the row of docs/reliability.md that the test's mark `row` names."""
    (mark,) = request.node.iter_markers("row")
    with row(mark.args[0], record_property) as told:
        yield told
