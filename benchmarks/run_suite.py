"""Runs the asv benchmarks of suite/ without asv: seconds of each, the best of several.

    python benchmarks/run_suite.py [--only Training] [--seconds 0.2]
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import timeit
from collections.abc import Iterator
from typing import Any

from suite import bench_network


def cases(only: str) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Name, object and parameters of each benchmark."""
    for cls_name, cls in inspect.getmembers(bench_network, inspect.isclass):
        for name, _ in inspect.getmembers(cls, inspect.isfunction):
            for values in itertools.product(*getattr(cls, "params", ())):
                title = f"{cls_name}.{name}({', '.join(map(str, values))})"
                if name.startswith("time_") and only in title:
                    instance = cls()
                    instance.setup(*values)
                    yield title, getattr(instance, name), values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="benchmarks whose name contains this")
    parser.add_argument("--seconds", type=float, default=0.2, help="for each (default %(default)s)")
    options = parser.parse_args()
    for title, function, values in cases(options.only):
        once = timeit.timeit(lambda f=function, v=values: f(*v), number=1)
        number = max(1, int(options.seconds / 5 / once))
        best = min(timeit.repeat(lambda f=function, v=values: f(*v), number=number, repeat=5)) / number
        print(f"{title:<60} {best:.3e} s", flush=True)


if __name__ == "__main__":
    main()
