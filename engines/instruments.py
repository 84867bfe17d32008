"""The symbol master: which instruments a name, cashtag, ISIN or text speaks of."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from engines import yaml_text
from schemas.alerts import Subject
from schemas.records import INSTRUMENT_CHARS

#: The simulator's invented companies; an operator's own file takes its place.
DEFAULT_SYMBOLS = Path(__file__).parent / "data" / "symbols.csv"

# Companies' names that are everyday words, also at the head of a sentence: alone they name nobody.
_EVERYDAY = frozenset(
    """a all ally an and apple are ball best big block bloom box boss bright bull bumble buy camping can carnival cat
    chase chemical coach comfort compass cook core cross crown cure deal delta dial discover
    dominion dover dow dream east edge element ever exact express fast first five fleet flex ford fortune fossil fox
    free frontier gap general global go gold good grab green harmonic hawk home honest i impact in independent insight
    it key kind kiss life light live look loop love low main man market marathon match men meta monster most mother
    national new news next north now oil old on one open oracle orange out pair paramount park path phoenix pool
    power prime progressive public pure real red reliance ring rise rocket root ross run safe sage sea see shell ship
    signature simple sky smart snap so soul south southern spark spirit sprout square stem stock stride sun sunrise
    target team the three toast tractor trade trip true trust two union unity up urban us very victory visa
    vital water well west western why wish wolf world yum zoom""".split()  # noqa: SIM905 - a list of words reads best as words
)
_LEGAL_FORMS = frozenset(
    """ab ag asa bhd bv co company corp corporation group holding holdings inc incorporated kgaa limited llc lp ltd nv
    oyj plc pte sa sab se spa the trust""".split()  # noqa: SIM905
)
#: What names more instruments than this is a list, not news of each.
MAX_MENTIONS = 64
_TOKEN = re.compile(r"\$[^\W\d_]\w*(?:[.-][^\W_]+)?|[^\W_]+(?:[.&][^\W_]+)*")
_VENUE = re.compile(r"[A-Z0-9]{4}")
_FIGI = re.compile(r"[B-DF-HJ-NP-TV-Z]{2}G[B-DF-HJ-NP-TV-Z0-9]{8}[0-9]")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{2,9}")


class Listing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instrument: ``symbol`` at ``venue`` (MIC). ``group`` is the issuer; listings of one issuer share it.

    ``desk`` trades it, ``asset_class`` is what it is (equity, future, crypto); rules may ask for both, and
    shares (equity) have thresholds of their own in pump_and_dump.
    """

    instrument: str
    symbol: str
    venue: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    isin: str = ""
    figi: str = ""
    sector: str = ""
    currency: str = ""
    group: str = ""
    desk: str = ""
    asset_class: str = ""


COLUMNS = Listing.__struct_fields__
#: A share, as ``asset_class`` says it.
EQUITY = "equity"


def isin_check_digit(body: str) -> str:
    """Return the last digit of an ISIN from its first eleven characters (ISO 6166: Luhn over letters as 10 to 35).

    Example
    -------
    >>> isin_check_digit("US037833100")
    '5'
    """
    digits = "".join(str(int(character, 36)) for character in body)
    doubled = (int(digit) * (2 - index % 2) for index, digit in enumerate(reversed(digits)))
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)


class SymbolMaster:
    """What is known of the instruments, and the index that finds them in words.

    Parameters
    ----------
    listings: one for each instrument.
    """

    def __init__(self, listings: Iterable[Listing]) -> None:
        self.listings: dict[str, Listing] = {listing.instrument: listing for listing in listings}
        self._isins = {listing.symbol: listing.isin for listing in self.listings.values() if listing.isin}
        self._exact: dict[str, list[str]] = {}  # what resolve() takes, in lower case
        self._phrases: dict[str, list[tuple[tuple[str, ...], list[str]]]] = {}  # by first word, longest first
        for listing in self.listings.values():
            self._index(listing)
        for phrases in self._phrases.values():
            phrases.sort(key=lambda phrase: -len(phrase[0]))

    @classmethod
    def load(cls, path: Path | str = DEFAULT_SYMBOLS) -> SymbolMaster:
        """Return the symbol master of a CSV file with a header line, or of a YAML file with a list of mappings.

        Columns are those of `Listing`; ``symbol`` and ``venue`` must be there. Aliases are split at ``|`` in CSV.

        Raises
        ------
        ValueError: the file says something impossible; the message gives its line.
        OSError: the file cannot be read.
        """
        path = Path(path)
        text = path.read_text(encoding="utf-8-sig")
        rows = _yaml_rows(path, text) if path.suffix in {".yaml", ".yml"} else _csv_rows(path, text)
        listings: dict[str, Listing] = {}
        for line, row in rows:
            try:
                listing = _listing(row)
                if listing.instrument in listings:
                    raise ValueError(f"instrument {listing.instrument} stands in the file twice; keep one of the lines")
            except ValueError as error:
                raise ValueError(f"{path}, line {line}: {error}") from None
            listings[listing.instrument] = listing
        if not listings:
            raise ValueError(f"{path}: expected at least one instrument, found none; see {DEFAULT_SYMBOLS.name}")
        return cls(listings.values())

    def resolve(self, name: str) -> tuple[str, ...]:
        """Return the instruments meant by a key, cashtag, symbol, ISIN, FIGI or name; none if it is not known.

        Example
        -------
        >>> SymbolMaster.load().resolve("$acme")
        ('ACME.XTOC',)
        """
        return tuple(self._exact.get(" ".join(name.lower().split()), ()))

    def mentions(self, text: str, hints: Sequence[str] = ()) -> list[str]:
        """Return the instruments that a text speaks of, in order of mention; those of ``hints`` come first.

        At most `MAX_MENTIONS` are returned, so that a list of all tickers is not sent to each of them.

        Counted are cashtags, ISINs, FIGIs, and names and aliases as whole words. A name of one word counts where it
        has a capital and is no everyday word; symbols count with a ``$`` only.

        Parameters
        ----------
        text: words in any case.
        hints: what a feed attached: whatever `resolve` takes; what it does not know is passed over.
        """
        found: dict[str, None] = {}
        for hint in hints:
            found.update(dict.fromkeys(self.resolve(hint)))
        tokens = _TOKEN.findall(text)
        lowered = [token.lower() for token in tokens]
        phrases_of = self._phrases.get
        skip_to = 0
        for index, word in enumerate(lowered):
            phrases = phrases_of(word)
            if phrases is None or index < skip_to:
                continue
            for phrase, instruments in phrases:
                length = len(phrase)
                if length == 1:
                    if tokens[index].islower() and word[0] != "$":
                        continue
                elif tuple(lowered[index : index + length]) != phrase:
                    continue
                found.update(dict.fromkeys(instruments))
                skip_to = index + length
                break
        return list(found)[:MAX_MENTIONS]

    def listing(self, instrument: str) -> Listing:
        """Return what is known of an instrument; of one that is not listed, what its key says."""
        known = self.listings.get(instrument)
        if known is not None:
            return known
        symbol, dot, venue = instrument.rpartition(".")
        return Listing(instrument=instrument, symbol=symbol, venue=venue if dot else "")

    def asset_class(self, instrument: str) -> str:
        """Return what an instrument is, empty where it is not known."""
        known = self.listings.get(instrument)
        return known.asset_class if known else ""

    def subject(self, instrument: str) -> Subject:
        """Return whom an alert on this instrument concerns; what is not known of it stays empty."""
        listing = self.listing(instrument)
        return Subject(
            instrument=instrument, symbol=listing.symbol, mic=listing.venue, isin=listing.isin, figi=listing.figi
        )

    def product(self, instrument: str) -> str:
        """Return what all instruments of one product share: the ISIN of their symbol's listings, else the symbol.

        Example
        -------
        >>> master = SymbolMaster.load()
        >>> master.product("ACME.XTOD") == master.product("ACME.XTOC"), master.product("OTHER.XNYS")
        (True, 'OTHER')
        """
        listing = self.listing(instrument)
        return listing.isin or self._isins.get(listing.symbol, listing.symbol)

    def sector(self, instrument: str) -> str:
        """Return an instrument's sector, "" where it is not known."""
        listing = self.listings.get(instrument)
        return listing.sector if listing else ""

    def _index(self, listing: Listing) -> None:
        instrument = listing.instrument
        names = {name for full in (listing.name, *listing.aliases) if full for name in (full, _short_name(full))}
        exact = {instrument, listing.symbol, f"${listing.symbol}", listing.isin, listing.figi, *names}
        for name in sorted({" ".join(name.lower().split()) for name in exact} - {""}):
            self._exact.setdefault(name, []).append(instrument)
        phrases = {tuple(token.lower() for token in _TOKEN.findall(name)) for name in names}
        phrases = {phrase for phrase in phrases if phrase and (len(phrase) > 1 or phrase[0] not in _EVERYDAY)}
        phrases |= {(code.lower(),) for code in (f"${listing.symbol}", listing.isin, listing.figi) if code}
        for phrase in sorted(phrases):
            entries = self._phrases.setdefault(phrase[0], [])
            for known, instruments in entries:
                if known == phrase:
                    instruments.append(instrument)
                    break
            else:
                entries.append((phrase, [instrument]))


def _short_name(name: str) -> str:
    """Return a company's name without its legal form: what people call it."""
    words = name.replace(",", " ").split()
    while len(words) > 1 and words[-1].lower().replace(".", "").strip("&") in _LEGAL_FORMS | {""}:
        words.pop()
    return " ".join(words)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _check_columns(reader.fieldnames or ())
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"expected {len(reader.fieldnames or ())} columns, found more or fewer; add or remove commas"
                )
            values: dict[str, object] = {name: value.strip() for name, value in row.items()}
            values["aliases"] = [alias.strip() for alias in row.get("aliases", "").split("|") if alias.strip()]
            yield reader.line_num, values
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}, line {max(reader.line_num, 1)}: {error}") from None


def _yaml_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    loader = yaml.SafeLoader("")
    try:
        root = yaml_text.compose(text)
        if not isinstance(root, yaml.SequenceNode):
            raise ValueError(
                f"{path}, line 1: expected a list of instruments, found something else; begin lines with `- `"
            )
        for node in root.value:
            row = loader.construct_object(node, deep=True)
            line = node.start_mark.line + 1
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {line}: expected `symbol: ...`, `venue: ...`, found {row!r}")
            try:
                _check_columns(row)
            except ValueError as error:
                raise ValueError(f"{path}, line {line}: {error}") from None
            yield line, row
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: expected YAML, found {' '.join(str(error).split())}; correct it there") from None
    finally:
        loader.dispose()


def _check_columns(names: Iterable[object]) -> None:
    names = list(names)
    for name in names:
        if name not in COLUMNS:
            raise ValueError(f"column {name!r} is not known; expected some of {', '.join(COLUMNS)}")
    for name in ("symbol", "venue"):
        if name not in names:
            raise ValueError(f"expected a column {name!r}, found {', '.join(map(str, names)) or 'none'}; add it")


def _listing(row: Mapping[str, object]) -> Listing:
    derived = f"{row['symbol']}.{row['venue']}"
    try:
        listing = msgspec.convert({**row, "instrument": row.get("instrument") or derived}, Listing)
    except msgspec.ValidationError as error:
        raise ValueError(f"{error}; quote numbers, and give aliases as a list") from None
    symbol, isin = listing.symbol, listing.isin
    if not symbol or " " in symbol or not symbol.isprintable():
        raise ValueError(f"symbol: expected one word, found {symbol!r}; correct it")
    if not _VENUE.fullmatch(listing.venue):
        raise ValueError(f"venue: expected a MIC (4 capital letters or digits), found {listing.venue!r}; see ISO 10383")
    if listing.instrument != derived:
        raise ValueError(f"instrument: expected {derived} (symbol.venue), found {listing.instrument!r}; leave it out")
    for name, value in (("instrument", listing.instrument), ("sector", listing.sector)):
        if len(value) > INSTRUMENT_CHARS:
            raise ValueError(f"{name}: expected at most {INSTRUMENT_CHARS} characters, found {len(value)}; shorten it")
    if isin and (not re.fullmatch(r"[A-Z]{2}[A-Z0-9]{9}[0-9]", isin) or isin_check_digit(isin[:-1]) != isin[-1]):
        raise ValueError(
            f"isin: expected 12 characters with a right check digit, found {isin!r}; correct it or leave it empty"
        )
    if listing.figi and not _FIGI.fullmatch(listing.figi):
        raise ValueError(f"figi: expected 12 characters such as BBG000B9XRY4, found {listing.figi!r}; leave it empty")
    if listing.currency and not _CURRENCY.fullmatch(listing.currency):
        raise ValueError(f"currency: expected a code such as USD, found {listing.currency!r}; see ISO 4217")
    return listing
