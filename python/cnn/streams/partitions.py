"""Columns in the names of folders, as Hive and Spark write them: `year=2020/part-0.parquet`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

_MISSING = "__HIVE_DEFAULT_PARTITION__"
_WHOLE = re.compile(r"[+-]?\d{1,18}")


def keys(folder: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The values that each file has of these columns: whole numbers where all of a column are, else texts.

    >>> keys(Path("rows"), [Path("rows/year=2020/town=a%20b/0.parquet"), Path("rows/year=2021/town=7/0.parquet")])
    [{'year': 2020, 'town': 'a b'}, {'year': 2021, 'town': '7'}]
    """
    found: list[dict[str, Any]] = []
    for path in files:
        pairs = (part.split("=", 1) for part in path.relative_to(folder).parts[:-1] if "=" in part)
        found.append({unquote(name): None if value == _MISSING else unquote(value) for name, value in pairs})
    for name in dict.fromkeys(name for values in found for name in values):
        texts = [values[name] for values in found if values.get(name) is not None]
        if all(map(_WHOLE.fullmatch, texts)):
            for values in found:
                values |= {name: int(values[name])} if values.get(name) is not None else {}
    return found


def fields(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The columns as Arrow describes them, by their names."""
    import pyarrow as pa

    texts = {name for values in found for name, value in values.items() if isinstance(value, str)}
    return {name: pa.field(name, pa.string() if name in texts else pa.int64()) for values in found for name in values}


def with_keys(batch: Any, schema: Any, values: dict[str, Any]) -> Any:
    """A record batch with these columns, each of one value and of the type that it has in a schema, behind its own."""
    import pyarrow as pa

    columns, whole = list(batch.columns), batch.schema
    for name, value in values.items():
        field = schema.field(name)
        columns.append(pa.repeat(pa.scalar(value, field.type), batch.num_rows))
        whole = whole.append(field)
    return pa.RecordBatch.from_arrays(columns, schema=whole)
