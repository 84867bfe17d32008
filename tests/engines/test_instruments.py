"""The symbol master: what a text speaks of, and what a wrong file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.instruments import MAX_MENTIONS, Listing, SymbolMaster, isin_check_digit
from schemas.alerts import Subject

MASTER = SymbolMaster.load()
SHARES = SymbolMaster(
    [
        Listing(instrument="AAPL.XNAS", symbol="AAPL", venue="XNAS", name="Apple Inc.", isin="US0378331005"),
        Listing(instrument="AAPL.XETR", symbol="AAPL", venue="XETR", name="Apple Inc.", isin="US0378331005"),
        Listing(instrument="BRK-B.XNYS", symbol="BRK-B", venue="XNYS", name="Berkshire Hathaway Inc."),
        Listing(instrument="EBAY.XNAS", symbol="EBAY", venue="XNAS", name="eBay Inc."),
        Listing(instrument="T.XNYS", symbol="T", venue="XNYS", name="AT&T Inc."),
        Listing(instrument="MSFT.XNAS", symbol="MSFT", venue="XNAS", name="Microsoft Corporation"),
    ]
)


@pytest.mark.parametrize(
    ("isin", "digit"),
    [("US037833100", "5"), ("GB000263494", "6"), ("DE000BAY001", "7"), ("AU0000XVGZA", "3")],
)
def test_check_digits_of_known_isins(isin: str, digit: str) -> None:
    assert isin_check_digit(isin) == digit


def test_an_item_that_names_three_instruments_reaches_all_three() -> None:
    text = "Acme Robotics beats estimates; $BOREAL falls 3% as ZZSABL000196 resumes trading"
    assert MASTER.mentions(text) == ["ACME.XTOC", "BOREAL.XTOC", "SABLE.XTOC"]


def test_an_item_that_names_none_reaches_none() -> None:
    assert MASTER.mentions("Rates unchanged, says the central bank") == []
    assert MASTER.mentions("") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Microsoft's cloud grows", ["MSFT.XNAS"]),
        ("MICROSOFT CORPORATION TO BUY", ["MSFT.XNAS"]),
        ("a microsoft of its kind", []),  # a name of one word needs a capital
        ("Microsoftware is no name", []),
        ("(Microsoft), again Microsoft", ["MSFT.XNAS"]),
        ("MSFT without its sign", []),
        ("$msft $5 $MSFTX", ["MSFT.XNAS"]),
        ("Apple pie", []),  # an everyday word
        ("Apple Inc pie", ["AAPL.XNAS", "AAPL.XETR"]),
        ("$AAPL", ["AAPL.XNAS", "AAPL.XETR"]),
        ("berkshire hathaway, $BRK-B", ["BRK-B.XNYS"]),
        ("$BRK-B.", ["BRK-B.XNYS"]),
        ("eBay and AT&T merge", ["EBAY.XNAS", "T.XNYS"]),
        ("Berkshire of old, Hathaway of now", []),
        ("us0378331005", []),
        ("Ölpreis: Microsoft 株 $EBAY", ["MSFT.XNAS", "EBAY.XNAS"]),
    ],
)
def test_mentions_are_whole_words(text: str, found: list[str]) -> None:
    assert SHARES.mentions(text) == found


def test_hints_come_first_and_unknown_ones_are_passed_over() -> None:
    assert SHARES.mentions("Microsoft", ["$EBAY", "US0378331005", "nobody", "Apple"]) == [
        "EBAY.XNAS",
        "AAPL.XNAS",
        "AAPL.XETR",
        "MSFT.XNAS",
    ]


def test_a_list_of_all_tickers_is_not_news_of_each() -> None:
    many = SymbolMaster(Listing(instrument=f"S{i}.XTOC", symbol=f"S{i}", venue="XTOC") for i in range(200))
    assert len(many.mentions(" ".join(f"$S{i}" for i in range(200)))) == MAX_MENTIONS


@pytest.mark.parametrize("name", ["ACME.XTOC", "$acme", "ACME", "ZZACME000018", "acme  robotics", "Acme"])
def test_an_instrument_is_resolved_by_each_of_its_names(name: str) -> None:
    assert MASTER.resolve(name) == ("ACME.XTOC",)
    assert MASTER.resolve("nobody") == ()


def test_the_subject_of_an_alert_says_what_is_known() -> None:
    assert MASTER.subject("ACME.XTOC") == Subject(
        instrument="ACME.XTOC", symbol="ACME", mic="XTOC", isin="ZZACME000018"
    )
    assert MASTER.subject("X.Y.BINA") == Subject(instrument="X.Y.BINA", symbol="X.Y", mic="BINA")
    assert MASTER.subject("market") == Subject(instrument="market")


def test_yaml_and_csv_say_the_same(tmp_path: Path) -> None:
    csv, yaml = tmp_path / "s.csv", tmp_path / "s.yaml"
    csv.write_text("symbol,venue,name,aliases\nA,XTOC,Alpha Beta,Alphabeta|AB Works\n")
    yaml.write_text("- symbol: A\n  venue: XTOC\n  name: Alpha Beta\n  aliases: [Alphabeta, AB Works]\n")
    assert SymbolMaster.load(csv).listings == SymbolMaster.load(yaml).listings
    assert SymbolMaster.load(csv).mentions("ab works") == ["A.XTOC"]


HEADER = "symbol,venue,isin\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("s.csv", HEADER + "A,XTOC,\nB,XTOC,US0378331006\n", "line 3: isin: expected 12 characters"),
        ("s.csv", HEADER + "A,XTOC,\nA,XTOC,\n", "line 3: instrument A.XTOC stands in the file twice"),
        ("s.csv", HEADER + "A,nyse,\n", "line 2: venue: expected a MIC"),
        ("s.csv", HEADER + "A,XTOC\n", "line 2: expected 3 columns"),
        ("s.csv", HEADER + "A,XTOC,,x\n", "line 2: expected 3 columns"),
        ("s.csv", HEADER + ",XTOC,\n", "line 2: symbol: expected one word"),
        ("s.csv", "symbol,mic\nA,XTOC\n", "line 1: column 'mic' is not known; expected some of instrument, symbol"),
        ("s.csv", "symbol\nA\n", "line 1: expected a column 'venue'"),
        ("s.csv", "", "line 1: expected a column 'symbol'"),
        ("s.csv", HEADER, "expected at least one instrument"),
        ("s.csv", "instrument,symbol,venue\nB.XTOC,A,XTOC\n", "line 2: instrument: expected A.XTOC"),
        ("s.yaml", "- symbol: A\n  venue: XTOC\n- symbol: 5\n  venue: XTOC\n", "line 3: Expected `str`, got `int`"),
        ("s.yaml", "- symbol: A\n  venue: XTOC\n  figi: X\n", "line 1: figi"),
        ("s.yaml", f"- symbol: A\n  venue: XTOC\n  sector: {'x' * 65}\n", "line 1: sector: expected at most 64"),
        ("s.yaml", f"- symbol: {'A' * 60}\n  venue: XTOC\n", "line 1: instrument: expected at most 64"),
        ("s.yaml", "symbol: A\n", "line 1: expected a list"),
        ("s.yaml", "- A\n", "line 1: expected `symbol: ...`"),
        ("s.yaml", "- [\n", "expected YAML"),
        ("s.yaml", "", "line 1: expected a list"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match="^" + str(path)) as caught:
        SymbolMaster.load(path)
    assert says in str(caught.value)
