"""How a run is kept, for `page.py` and for all who want to compare: one JSON file, a line for each measurement."""

from __future__ import annotations

import argparse
import datetime
import json
import re
from pathlib import Path
from typing import Any

import machine

FOLDER = Path(__file__).parent / "results"
Results = dict[str, Any]


def option(parser: argparse.ArgumentParser) -> None:
    """`--json [FILE]`."""
    parser.add_argument("--json", type=Path, nargs="?", const=FOLDER, metavar="FILE",
                        help="keep the run there (default in results/, for docs/performance.md)")  # fmt: skip


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def answer(question: str, rows: list[Results], **more: Any) -> Results:
    """What page.py wants to know of one question, measured by the program of that name on this machine."""
    about = {"question": question, "command": f"python benchmarks/{question}.py"}
    return {**about, "machine": machine.description(), "date": today(), "rows": rows, **more}


def write(results: Results, path: Path | None) -> None:
    """Keeps a run where `--json` says, if it is given; in a folder by question, processor and date."""
    if path is None:
        return
    if path == FOLDER:
        cpu = re.sub(r"[^a-z0-9]+", "-", results["machine"]["cpu"].lower()).strip("-")
        name = f"{cpu}-{results['date']}.json"
        path = FOLDER / (f"{results['question']}-{name}" if "question" in results else name)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for name, value in rounded(results).items():
        lines = ",\n".join(json.dumps(line, ensure_ascii=False) for line in value) if isinstance(value, list) else None
        text = json.dumps(value, ensure_ascii=False) if lines is None else f"[\n{lines}\n]"
        parts.append(f"{json.dumps(name)}: {text}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    print(f"\nkept as {path}")


def rounded(value: Any) -> Any:
    """Six digits of every number: what a clock gives is worth no more."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
