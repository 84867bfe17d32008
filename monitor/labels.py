"""Labels of texts as files: texts read to make one of, the folder that the daemon loads, one file written whole."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agents.text import document, words
from engines.bundle import Bundle
from engines.inference import Precision
from engines.text import spec_of
from engines.text_labels import LabelFile, TextLabel, encoder_digest
from monitor.errors import StartupError
from monitor.recordings import Recording
from schemas import codec
from schemas.errors import BadMessage
from schemas.records import News, TranscriptSegment

#: What a label's file may have: a direction, and examples.
MOST_BYTES = 4 << 20
_TOPICS = ("news", "transcripts")


class _Line(msgspec.Struct):
    """What is read of a line of NDJSON: a document, news or a segment of a call."""

    headline: str = ""
    body: str = ""
    text: str = ""


def load_labels(folder: Path | None, bundle: Bundle, precision: Precision) -> list[TextLabel]:
    """Return the labels of a folder by name, none where there is no folder.

    Raises
    ------
    StartupError
        The folder cannot be read or holds no label, or one of its labels cannot serve (see `read_label`).
    """
    if folder is None:
        return []
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise StartupError(
            f"{folder} holds no label: expected a folder of files NAME.json. Make one with `tocsin labels add`, or "
            "unset TOCSIN_LABELS."
        )
    return [read_label(path, bundle, precision) for path in paths]


def read_label(path: Path, bundle: Bundle, precision: Precision) -> TextLabel:
    """Return the label of a file.

    Raises
    ------
    StartupError
        It cannot be read, is no label, bears another name than its file, or is of another encoder than the bundle's.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ValueError(f"{size:,} bytes, expected at most {MOST_BYTES:,}")
        label = TextLabel(msgspec.json.decode(path.read_bytes(), type=LabelFile))
    except (OSError, ValueError) as error:  # msgspec's own are ValueErrors
        raise StartupError(
            f"{path} is no label ({error}): make it again with `tocsin labels add`, or remove it."
        ) from error
    file = label.file
    if path.stem != file.name:
        raise StartupError(
            f"{path} holds the label {file.name}: rename it to {file.name}.json, or make one of that name."
        )
    if (here := encoder_digest(bundle, precision)) != file.encoder:
        raise StartupError(
            f"{path} was made with the text encoder {file.encoder} of bundle {file.bundle}, here is {here} of bundle "
            f"{bundle.id}, whose vectors are others: make it again with `tocsin labels add {file.name}`, name that "
            "bundle by TOCSIN_BUNDLE, or remove the file."
        )
    if (dim := spec_of(bundle).dim) != len(file.direction):
        raise StartupError(
            f"{path} has a direction of {len(file.direction)} numbers, vectors of bundle {bundle.id} have {dim}: make "
            f"it again with `tocsin labels add {file.name}`, or remove it."
        )
    return label


def write_label(path: Path, file: LabelFile) -> None:
    """Write a label's file whole, or not at all.

    Raises
    ------
    StartupError
        It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.format(msgspec.json.encode(file), indent=0) + b"\n")
        part.replace(path)
    except OSError as error:
        raise StartupError(f"{path} cannot be written ({error}): name another --out.") from error


def read_texts(path: Path) -> list[str]:
    """Return the texts of a recording's folder, of NDJSON (.ndjson, .jsonl) or of CSV, in order, blank ones left out.

    A recording gives its news and transcripts, a line of NDJSON what its ``headline`` and ``body`` or its ``text`` say,
    as the daemon would encode them; CSV its column ``text``, or its only one.

    Raises
    ------
    StartupError
        It cannot be read, or has no texts.
    """
    try:
        if path.is_dir():
            found = list(_recorded(path))
        elif path.suffix in (".ndjson", ".jsonl"):
            lines = msgspec.json.Decoder(_Line).decode_lines(path.read_bytes())
            found = [line.text or document(line.headline, line.body) for line in lines]
        else:
            found = _column(path)
    except (OSError, UnicodeDecodeError, csv.Error, msgspec.DecodeError) as error:
        raise StartupError(
            f"{path} cannot be read ({error}): expected CSV in UTF-8, a .ndjson file, or a recording's folder."
        ) from error
    texts = [text for text in found if text.strip()]
    if not texts:
        raise StartupError(f"{path} has no texts: expected some.")
    return texts


def _recorded(path: Path) -> Iterator[str]:
    for message in Recording.open(path).messages(_TOPICS):
        try:
            record = codec.decode(message.topic, message.key, message.value, message.timestamp_ms)
        except BadMessage:
            continue  # a dead letter: the daemon encodes none
        if isinstance(record, News | TranscriptSegment):
            yield words(record)


def _column(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, strict=True)
        names = rows.fieldnames or []
        if "text" not in names and len(names) != 1:
            raise StartupError(
                f"{path} has the columns {', '.join(names) or 'none'}: expected a column text, or one column only."
            )
        name = "text" if "text" in names else names[0]
        return [row[name] or "" for row in rows]
