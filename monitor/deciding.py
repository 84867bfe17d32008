"""Who decides in a lane: the agents of a bundle, under the rules that are in effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from agents.flow import Item
from monitor.rulebook import NO_RULES, Rulebook
from monitor.state import State, StateTable
from schemas.alerts import Alert
from schemas.journal import Decides, Rules, Step

Output = Item | Alert
Agent = Callable[[AsyncIterator[Item], StateTable[State]], AsyncIterator[Output]]


class Deciding(Protocol):
    """What decides in a lane, by which bundle and configuration."""

    @property
    def decides(self) -> Decides: ...

    @property
    def agent(self) -> Agent: ...


Ruled = Callable[[Rules], Deciding]


@dataclass(frozen=True, slots=True)
class Unruled:
    """What decides alike under whatever rules."""

    decides: Decides
    agent: Agent

    def __call__(self, _: Rules) -> Deciding:
        return self


@dataclass(frozen=True, slots=True)
class Successor:
    """Who goes on in a lane; ``begin`` is called at that moment, between two turns, and ``begun`` is done then.

    ``ruled`` tells who does under rules.
    """

    decides: Decides
    agent: Agent
    begin: Callable[[], None]
    begun: asyncio.Future[None]
    ruled: Ruled


class Decider:
    """What decides in a lane now, and which rules of a ``rulebook`` are to take effect next.

    ``ruled`` tells who decides under rules; None: the same, whatever they are.
    """

    def __init__(self, decides: Decides, agent: Agent, ruled: Ruled | None, rulebook: Rulebook) -> None:
        self.decides = decides
        self.agent = agent
        self.rules = NO_RULES
        self._ruled = ruled or Unruled(decides, agent)
        self._rulebook = rulebook
        self._reached_ns = 0

    def follow(self, rules: Rules) -> None:
        """Let the agent of these rules decide from here on."""
        if rules != self.rules:
            deciding = self._ruled(rules)
            self.decides, self.agent = deciding.decides, deciding.agent
            self.rules = rules
            self.reached(max(self._reached_ns, rules.effective_ns))

    def give_way(self, successor: Successor) -> None:
        """Let another bundle's agent decide from here on, under the same rules."""
        rules, self.rules, self._ruled = self.rules, NO_RULES, successor.ruled
        self.decides, self.agent = successor.decides, successor.agent
        self.follow(rules)

    def due(self, clock_ns: int) -> Rules | None:
        """Return the rules that are to take effect now, None where those do that are to."""
        # Those that were published stay in effect where the control topic lost them.
        also = (self.rules,) if self.rules.offset >= 0 else ()
        due = self._rulebook.at(max(clock_ns, self._reached_ns), also)
        return due if due != self.rules else None

    def next_ns(self, clock_ns: int) -> int:
        """Return when other rules are to take effect, 0: never. Time must not get there under these."""
        return self._rulebook.next_after(max(clock_ns, self._reached_ns))

    def reached(self, at_ns: int) -> None:
        """Hold that time is about to get somewhere, so rules of then are due."""
        self._reached_ns = at_ns

    def applied_by_another(self, steps: Iterable[Step], config: str) -> tuple[str, Decides]:
        """Return another decision configuration by which some journalled steps were applied; "" where there is none.

        And what decides here at their end. ``config`` held before, "" where that is not known.
        """
        own, other = self.decides, ""
        for step in steps:
            if isinstance(step, Rules):
                own = self._ruled(step).decides
            elif isinstance(step, Decides):
                config = step.config
            elif config not in ("", own.config):
                other = other or config
        return other, own
