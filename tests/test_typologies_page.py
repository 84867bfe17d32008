"""docs/typologies.md says what the code says."""

from __future__ import annotations

from pathlib import Path

from engines.order_findings import SPECS
from tests.typologies_page import modules, page

PAGE = Path(__file__).parents[1] / "docs" / "typologies.md"


def test_the_page_is_what_the_typologies_say() -> None:
    assert PAGE.read_text() == page(), "run `make schemas`"


def test_every_typology_of_orders_is_a_file_of_its_name() -> None:
    named = {module.SPEC.name: module.__name__.rpartition(".")[2] for module in modules()}
    assert {name: named[name] for name in SPECS} == {name: name for name in SPECS}
