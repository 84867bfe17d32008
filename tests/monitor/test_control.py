"""What stands in the control topic and is no record of it stops nobody."""

from __future__ import annotations

import pytest

from monitor.control import Published, _published


@pytest.mark.parametrize("value", [b"", b"{", b'{"type": "rules", "version": "\xff"}', b'{"x": ' + b"[" * 5_000])
def test_what_is_no_record_is_said_and_passed_over(value: bytes) -> None:
    found = _published(7, value)
    assert isinstance(found, Published)
    assert (found.offset, found.change) == (7, None)
