"""Which model is champion by the control topic, and how a process comes to serve it.

published    promote A    promote B    roll back
way back     [A]          [A, B]       [A]            its last is champion; before its first, what was started with
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import structlog

from monitor.control import Promoted, promotions
from monitor.errors import StartupError
from monitor.folders import FolderError
from monitor.registry import Model, Registry
from monitor.render import clock
from monitor.settings import Settings
from monitor.stage import Stages
from schemas.control import Promotion

log = structlog.get_logger(__name__)


def way_back(promotions: Iterable[Promotion]) -> list[Promotion]:
    """Return the promotions whose models are champion, or would be by a rollback: the champion's last.

    Example
    -------
    >>> a, b = (Promotion(model=m, name=m, change="promotion", previous="", published_ns=0, author="", reason="")
    ...         for m in "ab")
    >>> back = Promotion(model="a", name="a", change="rollback", previous="b", published_ns=0, author="", reason="")
    >>> [one.model for one in way_back([a, b, back])]
    ['a']
    """
    kept: list[Promotion] = []
    for one in promotions:
        _follow(kept, one)
    return kept


def _follow(way: list[Promotion], one: Promotion) -> None:
    """Bring a way back up to date by what was published next."""
    if one.change == "rollback":
        # To a model, not by one step: of two who roll back at once the second changes nothing.
        while way and way[-1].model != one.model:
            way.pop()
    elif not way or way[-1].model != one.model:
        way.append(one)


async def champion_of(settings: Settings) -> str:
    """Return the id of the champion by the broker's control topic, "" where it is what workers were started with."""
    way = way_back(one.promotion for one in await promotions(settings))
    return way[-1].model if way else ""


class Standing(NamedTuple):
    """What a model is used for: "champion", "challenger" or "retired", since when (ns UTC), by whom, and why."""

    role: Literal["champion", "challenger", "retired"]
    since_ns: int
    author: str
    reason: str


def standings(models: Iterable[Model], promotions: Iterable[Promotion]) -> dict[str, Standing]:
    """Return what each model is used for by the promotions in their order, by its id.

    What was never promoted is a challenger, what was and is not champion any more is retired, by who promoted another.
    """
    found = {one.id: Standing("challenger", one.added_ns, one.author, one.reason) for one in models}
    way: list[Promotion] = []
    serves = ""
    for one in promotions:
        _follow(way, one)
        now = way[-1].model if way else ""
        if now != serves:
            found[serves] = Standing("retired", one.published_ns, one.author, one.reason)
            found[now] = Standing("champion", one.published_ns, one.author, one.reason)
            serves = now
    return found


class Champion:
    """The model that a process is to serve: by the promotions that it was told, else what its settings name.

    Parameters
    ----------
    refused
        Is called for each model that is to serve and cannot.
    """

    def __init__(self, settings: Settings, refused: Callable[[], None]) -> None:
        self._settings = settings
        self._registry = Registry(settings.registry) if settings.registry and not settings.shadow else None
        self._refused = refused
        self._next = 0
        self._told: list[Promotion] = []
        self._refusal = ""

    def take(self, promoted: Promoted) -> bool:
        """Return whether a promotion is news that is to be followed."""
        offset, promotion = promoted
        if offset < self._next:
            return False
        self._next = offset + 1
        told = {"model": promotion.model, "name": promotion.name, "author": promotion.author}
        if self._settings.shadow:
            return False  # it serves the model that it was started for
        if self._registry is None:
            log.warning("a promotion is not followed: set TOCSIN_REGISTRY, for all workers or for none", **told)
            return False
        self._told.append(promotion)
        log.info(f"a {promotion.change} was published", offset=offset, reason=promotion.reason, **told)
        return True

    def load(self, make: Callable[[Settings], Stages], before: Stages | None) -> Stages:
        """Return the stages of the champion, or where it cannot serve of the one before it, and so on.

        So workers agree, whatever they served when a model was promoted that cannot serve. Returned is ``before``,
        which serves, where that is what remains.

        Raises
        ------
        FolderError
            The registry cannot be reached, or nothing be fetched of it: nothing is known of the champion.
        Exception
            What the process was started with cannot serve.
        """
        self._refusal = ""
        for promotion in reversed(way_back(self._told)):
            if self._refusal and before is not None and before.about["model"] == promotion.model:
                return before
            try:
                return self._made(make, self._settings_of(promotion.model), promotion.model)
            except FolderError as error:
                self._refusal = f"{promotion.name} ({promotion.model}): {error}"
                raise
            except Exception as error:  # whatever is wrong with it: the one before it served
                why = str(error) if isinstance(error, StartupError) else f"{type(error).__name__}: {error}"
                log.error("model refused, the one before it serves", model=promotion.model, reason=why)
                self._refusal = self._refusal or f"{promotion.name} ({promotion.model}): {why}"
                self._refused()
        if self._refusal and before is not None and not before.about["model"]:
            return before
        return self._made(make, self._settings, "")

    def about(self) -> dict[str, Any]:
        """Return what /readyz tells of promotions, nothing where none is followed."""
        way = way_back(self._told)
        if not way:
            return {}
        last = way[-1]
        told = {"model": last.model, "name": last.name, "since": clock(last.published_ns), "author": last.author}
        return {"promoted": told | {"reason": last.reason, "refused": self._refusal}}

    def _settings_of(self, model: str) -> Settings:
        assert self._registry is not None
        fetched = self._registry.fetch(model, self._settings.cache)
        labels = {"labels": fetched.labels} if fetched.labels else {}
        return self._settings.model_copy(update={"bundle": fetched.bundle, **labels})

    @staticmethod
    def _made(make: Callable[[Settings], Stages], settings: Settings, model: str) -> Stages:
        made = make(settings)
        made.about["model"] = model
        return made
