"""Another bundle while the daemon serves: loaded and checked beside the one that serves, then swapped in each lane.

SIGHUP asks for it, or a promotion. What is refused leaves all as it was; what is swapped is let go once every lane has
gone on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import structlog

from monitor.errors import StartupError
from monitor.folders import FolderError
from monitor.metrics import Metrics
from monitor.stage import Stages
from monitor.worker import Worker

log = structlog.get_logger(__name__)
REMEDY = "mend the bundle, or point TOCSIN_BUNDLE's link back, and send SIGHUP again"
#: After how long a registry that could not be reached is asked again, s.
AGAIN_S = 10.0


class Swaps:
    """The stages that serve, and the way to others.

    Parameters
    ----------
    serving
        What serves.
    load
        Returns what is to serve next, given what serves, and that itself where nothing else can and it has said so; it
        takes seconds, and runs in ``thread``.
    """

    def __init__(
        self,
        serving: Stages,
        load: Callable[[Stages], Stages],
        *,
        workers: Sequence[Worker],
        metrics: Metrics,
        thread: Executor,
    ) -> None:
        self.serving = serving
        self._load = load
        self._workers = workers
        self._metrics = metrics
        self._thread = thread

    async def keep(self, asked: asyncio.Event) -> None:
        """Load the bundle anew whenever asked, until cancelled; asked while at it, once more."""
        while True:
            await asked.wait()
            asked.clear()
            if not await self.swap():
                asyncio.get_running_loop().call_later(AGAIN_S, asked.set)

    async def swap(self) -> bool:
        """Load the bundle anew, and have it serve where it decides otherwise than the one that serves.

        Returns False where a model cannot be fetched, and is to be asked for again.
        """
        began_s, old = time.monotonic(), self.serving
        try:
            new = await asyncio.get_running_loop().run_in_executor(self._thread, self._load, old)
        except FolderError as error:
            log.error("the model cannot be fetched, the old bundle serves on", reason=str(error), again_in_s=AGAIN_S)
            return False
        except Exception as error:  # whatever is wrong with it: nothing is wrong with the one that serves
            reason = str(error) if isinstance(error, StartupError) else f"{type(error).__name__}: {error}"
            log.error("bundle refused, the old one serves on", reason=reason, serves=old.about["bundle"], remedy=REMEDY)
            self._metrics.swapped("refused")
            return True
        loaded_s = time.monotonic()
        if new is old:
            return True
        if [stage.decides for stage in new] == [stage.decides for stage in old]:
            log.info("bundle unchanged: what TOCSIN_BUNDLE names serves already", bundle=old.about["bundle"])
            # Promoted, rolled back or signed is what serves already.
            old.about.update({name: new.about[name] for name in ("model", "signed_by")})
            self._metrics.swapped("unchanged")
            return True
        for worker, stage in zip(self._workers, new, strict=True):
            await worker.swap(stage)
        self.serving = new
        self._metrics.swapped("swapped")
        log.info(
            "bundle swapped",
            was=old.about["bundle"],
            loaded_in_s=round(loaded_s - began_s, 3),
            swapped_in_s=round(time.monotonic() - loaded_s, 3),
            **new.about,
        )
        return True
