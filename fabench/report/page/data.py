"""The records and environments that a page carries: JSON lines, compressed, as text that no browser parses; and back again.

The first line says how many of each follow, so that a torn file is noticed. Reading takes any bytes: what is no report is a
StoreError, and what would unpack to far more than a report holds is refused while it is unpacked.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from fabench.errors import StoreError
from fabench.schema import DecodeError, Environment, Record, from_json, to_json

__all__ = ["LIMIT_BYTES", "embed", "extract"]

LIMIT_BYTES = 4 * 2**30
_LINE_BYTES = 16 * 2**20
_OPENING = b'<script type="application/octet-stream" id="fabench-data">'
_CLOSING = b"</script>"
_CHUNK = 2**20
_FORMAT = 1


def embed(records: Sequence[Record], environments: Sequence[Environment]) -> str:
    """The element to put into a page."""
    head = {"format": _FORMAT, "environments": len(environments), "records": len(records)}
    lines = [json.dumps(head), *map(to_json, environments), *map(to_json, records)]
    packed = gzip.compress("\n".join([*lines, ""]).encode("utf-8", "surrogatepass"), compresslevel=6, mtime=0)
    return _OPENING.decode() + base64.b64encode(packed).decode("ascii") + _CLOSING.decode()


def extract(page: bytes, limit_bytes: int = LIMIT_BYTES) -> tuple[list[Record], list[Environment]]:
    """What `embed` put into the page. Raises StoreError."""
    lines = _lines(_packed(page), limit_bytes)
    try:
        counts = _head(next(lines, b""))
        environments = [from_json(Environment, line) for _, line in zip(range(counts[0]), lines, strict=False)]
        records = [from_json(Record, line) for _, line in zip(range(counts[1]), lines, strict=False)]
        if (len(environments), len(records)) != counts or next(lines, None) is not None:
            raise StoreError("the report's data is incomplete: write the report again")
    except DecodeError as error:
        raise StoreError(f"the report's data can't be read: {_one_line(error)}") from None
    return records, environments


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _packed(page: bytes) -> bytes:
    start = page.find(_OPENING)
    end = page.find(_CLOSING, start)
    if start < 0 or end < 0:
        raise StoreError("no fabench report: it carries no data")
    if page.find(_OPENING, start + 1) >= 0:
        raise StoreError("no fabench report: it carries data twice")
    try:
        return base64.b64decode(page[start + len(_OPENING) : end], validate=True)
    except (binascii.Error, ValueError) as error:
        raise StoreError(f"the report's data is damaged: {_one_line(error)}") from None


def _lines(packed: bytes, limit_bytes: int) -> Iterator[bytes]:
    """Lines of gzip data, unpacked chunk by chunk: no more than one line and one chunk are held at a time."""
    unpacker, total, position = zlib.decompressobj(31), 0, 0
    pending, rest = b"", bytearray()
    while not unpacker.eof:
        if not pending:
            pending = packed[position : position + _CHUNK]
            position += _CHUNK
            if not pending:
                raise StoreError("the report's data is damaged: it ends too early")
        try:
            chunk = unpacker.decompress(pending, _CHUNK)
        except zlib.error as error:
            raise StoreError(f"the report's data is damaged: {_one_line(error)}") from None
        pending = unpacker.unconsumed_tail
        total += len(chunk)
        rest += chunk
        if total > limit_bytes or len(rest) > _LINE_BYTES:
            raise StoreError("the report's data is larger than any report: refused")
        if b"\n" in chunk:
            *whole, last = bytes(rest).split(b"\n")
            rest = bytearray(last)
            yield from whole
    if rest or unpacker.unused_data:
        raise StoreError("the report's data is damaged: something follows its last line")


def _head(line: bytes) -> tuple[int, int]:
    try:
        head: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise StoreError("the report's data is damaged: its first line is no JSON") from None
    known = head if isinstance(head, dict) and head.get("format") == _FORMAT else {}
    environments, records = known.get("environments"), known.get("records")
    if type(environments) is not int or type(records) is not int or min(environments, records) < 0:
        raise StoreError("the report's data is of a form that is not known here: use a fabench that is as new")
    return environments, records
