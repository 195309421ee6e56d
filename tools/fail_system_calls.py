"""Every system call of a save made to fail once, by strace: a whole file stays, and the next save leaves no litter.

    python tools/fail_system_calls.py

Needs strace. A save is the calls between two marks (chdir to places that are not there); the n-th call of a name in the
process fails, for each of them and for ENOSPC, EIO and EINTR.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import cnn

PROGRAM = """
import os, sys, numpy as np, cnn
net = cnn.Network([cnn.Dense(2)], seed=1).build(3)
net.save(sys.argv[1] + "/other")  # what is imported and made at the first save
os.unlink(sys.argv[1] + "/other")
def mark(name):
    try: os.chdir("/none/" + name)
    except OSError: pass
mark("begin")
try:
    net.save(sys.argv[1] + "/m.cnn")
    result = "saved"
except OSError as error:
    result = f"error {error}"
mark("end")
print(result)
"""


def traced(folder: str, *options: str) -> tuple[list[str], str]:
    """(the lines of strace between the marks, what the program said)."""
    command = ["strace", "-o", f"{folder}.trace", *options, sys.executable, "-c", PROGRAM, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(f"{folder}.trace").read_text().splitlines(), done.stdout.strip() or done.stderr.strip()


def calls(folder: str) -> list[tuple[str, int]]:
    """(name, its number in the process) of the system calls of a save."""
    lines, said = traced(folder)
    assert said == "saved", said
    seen, found, inside = Counter[str](), [], False
    for line in lines:
        if not (match := re.match(r"(\w+)\(", line)):
            continue
        seen[match[1]] += 1
        if "/none/" in line:
            inside = "begin" in line
        elif inside:
            found.append((match[1], seen[match[1]]))
    return found


def main() -> int:
    old, new = (cnn.Network([cnn.Dense(2)], seed=seed).build(3) for seed in (0, 1))
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as parent:
        folder = f"{parent}/models"
        Path(folder).mkdir()
        path = Path(folder, "m.cnn")
        old.save(path)
        for name, number in calls(folder):
            if name in ("mmap", "munmap", "brk", "futex", "rt_sigaction"):  # memory and threads, not files
                continue
            for error in ("ENOSPC", "EIO", "EINTR"):
                old.save(path)
                lines, said = traced(folder, "-e", f"inject={name}:error={error}:when={number}")
                injected = [line for line in lines if "(INJECTED)" in line]
                assert len(injected) == 1, (name, number, injected)
                left = cnn.load(path)
                same = "old" if np.array_equal(left.flat, old.flat) else "new"
                assert same == "old" or np.array_equal(left.flat, new.flat), (name, number, error)
                assert same == "new" or said.startswith("error"), (name, number, error, said)
                litter = len(list(Path(folder).iterdir())) - 1
                outcomes[f"{said.split()[0]}, {same} file" + (", a temporary file" if litter else "")] += 1
                new.save(path)
                assert [p.name for p in Path(folder).iterdir()] == ["m.cnn"], list(Path(folder).iterdir())
    print(f"{outcomes.total()} failures: " + "; ".join(f"{what}: {n}" for what, n in sorted(outcomes.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
