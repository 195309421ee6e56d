"""Predictions in the kind of the table that they are for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from cnn.table import frames
from cnn.table.frames import Array


def like(data: Any, columns: Mapping[str, Array], alone: bool) -> Any:
    """These columns as a frame of the library that `data` is of, or the one that is there `alone` as a series of it.

    Rows of pandas keep their index. Of a dict comes a dict, of an array a frame of pandas, of what is lazy a frame in
    memory.
    """
    if isinstance(data, Mapping):
        return dict(columns)
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(data, arrow.RecordBatch):
        text = arrow.string()
        made = [arrow.array(c.tolist(), text) if c.dtype == object else arrow.array(c) for c in columns.values()]
        return made[0] if alone else arrow.RecordBatch.from_arrays(made, names=list(columns))
    pd = frames.pandas()
    if not isinstance(data, pd.DataFrame) and frames.is_table(data):
        nw = frames.narwhals()
        given = nw.from_native(data, pass_through=True)
        if isinstance(given, nw.DataFrame | nw.LazyFrame):
            held = isinstance(given, nw.DataFrame) or given.implementation.is_polars()
            plain = {name: cells.tolist() if cells.dtype == object else cells for name, cells in columns.items()}
            made = nw.from_dict(plain, backend=given.implementation if held else "pyarrow")
            return made.get_column(next(iter(columns))).to_native() if alone else made.to_native()
    frame = pd.DataFrame(dict(columns), index=data.index if isinstance(data, pd.DataFrame) else None)
    return frame.iloc[:, 0] if alone else frame
