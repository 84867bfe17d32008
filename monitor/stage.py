"""The instrument stage: engines loaded, agents chained, and the digest of all that decides."""

from __future__ import annotations

from monitor.metrics import Metrics
from monitor.settings import Settings
from monitor.worker import Stage


def load_stage(settings: Settings, metrics: Metrics) -> Stage:
    raise RuntimeError
