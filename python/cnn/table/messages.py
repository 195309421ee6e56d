"""What a table model says of what it chose and left out."""

from __future__ import annotations

from cnn.table import columns, writings
from cnn.table.encode import Encoder
from cnn.table.target import Target


def of_a_fit(goal: Target, encoder: Encoder, without_target: int) -> tuple[str, ...]:
    """What was chosen and left out, a sentence each."""
    what = f" of {len(goal.classes)} classes" if goal.classes else ""
    found = [f"{goal.name!r} is predicted by {goal.task}{what} ({goal.reason})"]
    kinds: dict[str, list[str]] = {}
    for column in encoder.columns:
        kinds.setdefault(column.kind, []).append(column.name)
    found += [f"{kind}: {', '.join(names)}" for kind, names in kinds.items()]
    found += [f"left out {name!r}: {why}" for name, why in encoder.dropped.items()]
    readings = [columns.said(goal.name, "numbers", (), writings.example(goal.writing))]
    found += filter(None, [*readings, *map(columns.reading, encoder.columns)])
    if without_target:
        found.append(f"left out {without_target:,} rows without a value of {goal.name!r}")
    return tuple(found)
