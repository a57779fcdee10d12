"""JSON: headline, environments, complete records with their evidence, and every table of the report; strict, and readable back.

The evidence is derived, so reading passes over it: it is judged anew from the records.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fabench import __version__
from fabench.analysis.estimate import Estimate
from fabench.analysis.evidence import as_line
from fabench.codec import DecodeError, decode
from fabench.errors import StoreError
from fabench.report.blocks import Report, Table, Value
from fabench.report.formats.base import Bundle, save, with_ending
from fabench.schema import SCHEMA_VERSION, Environment, Record, to_json

__all__ = ["read", "write"]

_FORMAT = "fabench-report"
_VERSION = 1
_DERIVED = ("cells",)


def write(report: Report, bundle: Bundle, stem: Path) -> list[Path]:
    """`stem.json`. A record is a line, so that line tools can work with it."""
    head = {
        "format": _FORMAT, "version": _VERSION, "fabench": __version__, "title": report.title, "headline": report.headline,
        "verdict": report.verdict, "setting": report.setting, "warnings": list(report.warnings), "readings": _readings(report),
    }  # fmt: skip
    start = json.dumps(head, allow_nan=False, ensure_ascii=True)[:-1]
    environments = ",\n".join(map(to_json, bundle.environments))
    records = ",\n".join(as_line(record, judged) for record, judged in zip(bundle.records, bundle.evidence, strict=True))
    text = f'{start},\n"environments": [\n{environments}\n],\n"records": [\n{records}\n]\n}}\n'
    return [save(with_ending(stem, ".json"), text)]


def _readings(report: Report) -> dict[str, Any]:
    tables = [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
    return {
        table.id: {
            "title": table.title,
            "note": table.note,
            "columns": [{"title": column.title, "kind": column.kind} for column in table.columns],
            "rows": [[_value(value) for value in row] for row in table.rows],
        }
        for table in tables
        if table.id not in _DERIVED
    }


def _value(value: Value) -> Any:
    if isinstance(value, Estimate):
        return {"value": value.value, "low": value.low, "high": value.high}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read(path: Path) -> tuple[list[Record], list[Environment]]:
    """Records and environments of a file that `write` wrote. Raises StoreError, one line."""
    try:
        data = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or type(error).__name__}") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: no JSON ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(data, dict) or data.get("format") != _FORMAT or data.get("version") != _VERSION:
        raise StoreError(f"{path}: no fabench report, or one of another version")
    try:
        return [_decoded(Record, _stored(item)) for item in _items(data, "records")], [
            _decoded(Environment, item) for item in _items(data, "environments")
        ]
    except (DecodeError, RecursionError) as error:
        raise StoreError(f"{path}: {' '.join(str(error).split())[:200]}") from None


def _items(data: dict[str, Any], name: str) -> list[Any]:
    found = data.get(name)
    if not isinstance(found, list):
        raise DecodeError(f"{name} is missing")
    return found


def _stored(item: Any) -> Any:
    """A record as it was measured, without what was read out of it."""
    return {key: value for key, value in item.items() if key != "evidence"} if isinstance(item, dict) else item


def _decoded(cls: type[Any], item: Any) -> Any:
    version = item.get("schema", SCHEMA_VERSION) if isinstance(item, dict) else SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise DecodeError(f"schema {str(version)[:20]} is not known here, only {SCHEMA_VERSION}: use a fabench that is as new")
    return decode(cls, item)
