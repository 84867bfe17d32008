"""What each way to fuse modalities is worth, and what each modality is worth in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress

from engines.training.models.fusion import KINDS, SCHEDULE, Head, Rows, Slot, learn

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Share of the rows to learn from, the latest, that says when to stop.
STOP = 0.15
#: Steps of an epoch, where there are few rows.
STEPS = 40


def fused(
    modalities: Mapping[str, Floats],
    heads: Sequence[Head],
    truth: Floats,
    learnt: Ints,
    asked: Ints,
    *,
    seed: int,
    progress: Progress,
) -> dict[str, Floats]:
    """Return log odds, or estimates, (asked, head) of each kind of fusion, and of each without each modality.

    They are called "early fusion", "early fusion without text" and so on; a modality is withheld from the model that
    learnt with it, which has seen rows without it, too (see `engines.training.models.fusion`).

    Parameters
    ----------
    modalities
        By name the columns (row, k), whole rows of NaN where it is missing.
    truth
        What is asked, (row, head), NaN where it is not known.
    learnt, asked
        Rows, in the order of time; the latest `STOP` of those to learn from say when to stop.
    """
    slots = [Slot(name, 0, columns.shape[1], aged=False) for name, columns in modalities.items()]
    present = np.stack([~np.isnan(columns).all(1) for columns in modalities.values()], 1)  # (row, modality)
    whole = np.nan_to_num(np.hstack(list(modalities.values())))  # (row, column)
    tensors = (whole, np.zeros(present.shape), present, truth)
    rows = Rows(*(torch.tensor(x, dtype=torch.float32) for x in tensors))
    cut = int(len(learnt) * (1 - STOP))
    schedule = replace(SCHEDULE, batch=int(np.clip(cut // STEPS, 16, SCHEDULE.batch)))
    told: dict[str, Floats] = {}
    for kind in KINDS:
        model, _ = learn(
            kind, slots, heads, rows, learnt[:cut], learnt[cut:], schedule=schedule, seed=seed, progress=progress
        )
        told[f"{kind} fusion"] = model.told(rows)[asked]
        told |= {f"{kind} fusion without {name}": model.told(rows, [name])[asked] for name in modalities}
    return told
