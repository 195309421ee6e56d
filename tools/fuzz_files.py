"""Mutated model files against the reader: an error of one type or a model, within a second and 64 MiB.

    python tools/fuzz_files.py --count 1000000 [--seed 0]

Half of the mutants are random damage, which must be refused; half have checksums that are right again, so that what
lies behind them is reached. Ends with code 1 at the first that does otherwise, and leaves it in the folder given.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn import container

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

LIMIT = 64 << 20
DIGITS = 8 + len(b'{"__metadata__":{"checksum":"')
ODD: list[Any] = [
    0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 0.0, -0.5, 1e-320, 1e308, 0.5,
    True, False, None, "", "0", "relu", "softmax", "auto", "Dense", "Adam", "F32", "F64", "\u0000", "é" * 50,
    "x" * 3000, "\\", '"', [], {}, [[]], [1] * 100, {"class": "Dense"}, {"class": "Cosine", "learning_rate": 1},
]  # fmt: skip


def seeds() -> list[bytes]:
    """Small files of every kind."""
    nets = [
        cnn.Network([cnn.Dense(2)], seed=0),
        cnn.Network([cnn.Dense(3, cnn.Activation("elu", 0.3)), cnn.Dropout(0.2), cnn.Dense(3, use_bias=False)],
                    loss=cnn.CrossEntropy(0.1), optimizer=cnn.SGD(0.1, momentum=0.9), seed=1),
        cnn.Network([cnn.Dense(2, "tanh"), cnn.Dense(1)], loss=cnn.Huber(0.3), dtype="float64", seed=1,
                    optimizer=cnn.AdamW(cnn.schedules.WarmUp(cnn.schedules.Cosine(0.01), 5))),
    ]  # fmt: skip
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for net in nets:
            net.build(3).save(f"{folder}/m")
            found.append(Path(folder, "m").read_bytes())
        Path(folder, "run").mkdir()
        nets[0].fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=4, epochs=2, verbose=0, validation_split=0.5,
                    callbacks=[cnn.Checkpoint(f"{folder}/run", 1, "steps"), cnn.EarlyStopping()])  # fmt: skip
        found.append(max(Path(folder, "run").iterdir()).read_bytes())
    return found


def damage(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Bits, bytes, pieces and sizes, at random."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, n = rng.randrange(len(data) + 1), rng.choice((1, 2, 8, 64))
        how = rng.randrange(7)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at : at + n] = rng.randbytes(n)
        elif how == 2:
            del data[at:]
        elif how == 3:
            del data[at : at + n]
        elif how == 4:
            data[at:at] = rng.choice((b"\0", b"{", b"[", b'"', b"9")) * n
        elif how == 5:
            other = rng.choice(others)
            data[at:] = other[rng.randrange(len(other)) :]
        else:
            data[:8] = rng.choice((rng.randrange(len(data) + 9), 2**20, 2**63, 2**64 - 1)).to_bytes(8, "little")
    return bytes(data)


def tree(value: Any, rng: random.Random) -> Any:
    """A JSON value with one of its nodes changed."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        changed = value.copy()
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        how = rng.randrange(12)
        if how == 0:
            del changed[key]
        elif how == 1 and isinstance(changed, dict):
            changed[str(rng.choice(ODD))[:40]] = changed.pop(key)
        elif how == 1:
            changed.insert(key, changed[key])
        else:
            changed[key] = tree(value[key], rng)
        return changed
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return value * rng.choice((2, -1, 10**9)) + rng.choice((0, 1, -1))
    return rng.choice(ODD)


def forged(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A changed file whose checksums are right."""
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    metadata = header["__metadata__"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        how = rng.randrange(8)
        if how < 4:
            try:
                model = json.loads(metadata["model"])
            except ValueError:  # what was there has been changed before
                break
            metadata["model"] = json.dumps(tree(model, rng))
        elif how == 4:
            metadata["model"] = damage(metadata["model"].encode(), others, rng).decode("latin-1")[: 1 << 16]
            break  # it may be no JSON any more
        elif how == 5:
            header = tree(header, rng)
        elif how == 6:
            data = bytearray(damage(bytes(data), [b"\0" * 8], rng))
        else:
            metadata[rng.choice(list(metadata))] = str(rng.choice(ODD))
            break
        metadata = header.get("__metadata__") if isinstance(header, dict) else None
        if not isinstance(metadata, dict) or not isinstance(metadata.get("model"), str):
            break
    return signed(header, bytes(data), rng)


def signed(header: Any, data: bytes, rng: random.Random) -> bytes:
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if isinstance(metadata, dict):
        if rng.random() < 0.9:
            spans = {k: e.get("data_offsets") for k, e in header.items() if k != "__metadata__" and isinstance(e, dict)}
            metadata["sha256"] = json.dumps({
                name: hashlib.sha256(data[slice(*span)]).hexdigest() for name, span in spans.items()
                if isinstance(span, list) and len(span) == 2 and all(type(n) is int for n in span)
            })  # fmt: skip
        metadata["checksum"] = "0" * 64
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")
    if rng.random() < 0.02:
        text = text.replace(b'"units', b'"units":1,"units', 1)
    zeroed = len(text).to_bytes(8, "little") + text
    return zeroed[:DIGITS] + hashlib.sha256(zeroed).hexdigest().encode() + zeroed[DIGITS + 64 :] + data


def bound_memory() -> None:
    """No more than 64 MiB beyond what the process has now."""
    if resource is not None and sys.platform == "linux":
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + LIMIT, now + LIMIT))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("."), help="where a file goes that is not treated well")
    arguments = parser.parse_args()
    originals, rng, outcomes = seeds(), random.Random(arguments.seed), Counter[str]()
    slowest = 0.0
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        path = Path(folder, "m.cnn")
        for content in originals:  # what is made at the first use of anything
            path.write_bytes(content)
            cnn.load(path).predict(np.zeros((1, 3)))
        bound_memory()
        for i in range(arguments.count):
            content, sign = rng.choice(originals), i % 2 == 1
            mutant = (forged if sign else damage)(content, originals, rng)
            path.write_bytes(mutant)
            start = time.perf_counter()
            try:
                outcome = type(cnn.load(path)).__name__
            except cnn.ModelFormatError:
                outcome = "refused"
            except Exception as error:
                outcome = f"{type(error).__name__}: {error}"
            seconds = time.perf_counter() - start
            slowest = max(slowest, seconds)
            if outcome not in ("refused", "Network") or seconds > 1 or (
                outcome == "Network" and not sign and mutant not in originals
            ):  # fmt: skip
                kept = arguments.keep / f"mutant-{arguments.seed}-{i}.cnn"
                kept.write_bytes(mutant)
                print(f"mutant {i}: {outcome} after {seconds:.3f} s; it is in {kept}")
                return 1
            outcomes[("with right checksums, " if sign else "damaged, ") + outcome] += 1
    found = "; ".join(f"{name} {n:,}" for name, n in sorted(outcomes.items()))
    print(f"{arguments.count:,} mutants of {len(originals)} files, format {container.VERSION}: {found}; "
          f"slowest {slowest:.3f} s")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
