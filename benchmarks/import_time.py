"""What `import cnn` takes beyond NumPy's own import: medians of interleaved runs, each in a fresh process."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def seconds(module: str) -> float:
    # -P: the installed package, not a checkout in the working directory.
    command = [sys.executable, "-P", "-c", PROGRAM.format(module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    modules = ("numpy", "cnn")
    for module in modules:  # the first run reads the files from disk
        seconds(module)
    times: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(runs):
        for module in modules:
            times[module].append(seconds(module))
    medians = {module: statistics.median(values) for module, values in times.items()}
    print(json.dumps({
        "numpy_seconds": round(medians["numpy"], 4),
        "cnn_seconds": round(medians["cnn"], 4),
        "beyond_numpy_seconds": round(medians["cnn"] - medians["numpy"], 4),
        "runs": runs,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
