"""Why a message cannot be used."""

from __future__ import annotations

import msgspec

#: What msgspec raises of bytes that are not what they should be: text may be no UTF-8, and lists nest without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: Every reason that a message is refused for; dead letters and metrics carry it as it stands here.
REASONS: tuple[str, ...] = (
    "empty",
    "too_large",
    "too_deep",
    "not_utf8",
    "not_json",
    "missing_field",
    "wrong_type",
    "not_finite",
    "out_of_range",
    "no_zone",
    "from_future",
    "too_old",
    "wrong_key",
    "bad_frame",
    "bad_media",
)


class BadMessage(Exception):
    """A message that cannot be used.

    Parameters
    ----------
    reason: one of `REASONS`.
    detail: one sentence: what was expected, what was found, what to do.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
