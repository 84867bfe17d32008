"""What flows between agents: arrivals in the journal's order, and the tracks of scores that are made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.tracks import Embedding
from schemas.frames import Frame
from schemas.records import (
    AudioSegment,
    ChartSnapshot,
    News,
    OrderEvent,
    Score,
    Transfer,
    TranscriptSegment,
)

Value = Frame | OrderEvent | News | TranscriptSegment | AudioSegment | ChartSnapshot | Transfer
