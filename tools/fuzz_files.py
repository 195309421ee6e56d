"""Mutated model files against the reader: an error of one type or a model, within a second, its size and 64 MiB.

    python tools/fuzz_files.py --count 1000000 [--kind table] [--seed 0]

The originals are the golden files of tests/data, the same models saved by this version, and twice in 400 mutants a
file of some MB. Half of the mutants are random damage, which must be refused; half have checksums that are right again,
so that what lies behind them is reached. Ends with code 1 at the first that does otherwise, and leaves it in the folder
given.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import dataclasses
import hashlib
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import cnn
from cnn.files import container

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

LIMIT = 64 << 20
LARGE_EVERY = 400  # two of so many mutants are of a large file
MODELS = ("Network", "MLPClassifier", "MLPRegressor", "EnsembleClassifier", "EnsembleRegressor", "TableModel",
          "ImageClassifier")
DIGITS = 8 + len(b'{"__metadata__":{"checksum":"')
ODD: list[Any] = [
    0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 0.0, -0.5, 1e-320, 1e308, 0.5,
    True, False, None, "", "0", "relu", "softmax", "auto", "Dense", "Adam", "number", "text", "F32", "F64", "\u0000",
    "é" * 50, "x" * 3000, "\\", '"', [], {}, [[]], [1] * 100, {"class": "Dense"}, {"float": "inf"},
    {"class": "Cosine", "learning_rate": 1},
]  # fmt: skip


def seeds() -> list[bytes]:
    """The golden files, and the same models as this version saves them."""
    golden = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "tests" / "data").glob("*.cnn"))]
    found = dict.fromkeys(golden)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m")
        for content in golden:
            path.write_bytes(content)
            cnn.load(path).save(path)
            found[path.read_bytes()] = None
    return list(found)


def large() -> list[bytes]:
    """Files of some MB, a model of each kind; and as many sizes, texts and numbers as a file may hold."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)).astype(np.float32)
    words = [f"{i:03}" + "x" * 2000 for i in range(100)]
    rows = {"a": [words[i] for i in rng.integers(0, 60, 400)], "b": X[:, 0], "y": words[:99] * 4 + words[:4]}
    regressor = cnn.MLPRegressor(hidden_layer_sizes=(700, 700), random_state=0, dtype="float32")
    models = [
        cnn.Network([cnn.Dense(1000), cnn.Dense(1000)], seed=0).build(100), regressor.partial_fit(X, X[:, 0]),
        cnn.TableModel("y", hidden=[1000, 900], members=1, epochs=1, seed=0).fit(rows, verbose=0),
    ]  # fmt: skip
    small = cnn.MLPRegressor(hidden_layer_sizes=1, random_state=0).partial_fit(X, X[:, 0])
    table = cnn.TableModel("b", hidden=[1], members=1, epochs=1, seed=0).fit(rows, verbose=0)
    table.settings = dataclasses.replace(table.settings, hidden=(1,) * 250_000)
    models += [table, copy.deepcopy(small).set_params(hidden_layer_sizes=[1] * 250_000), small]
    small.loss_curve_ = [0.5] * ((1 << 20) - 10)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            model.save(f"{folder}/m")
            found.append(Path(folder, "m").read_bytes())
    return [*found, with_texts(found[2], container.pack_text(["😀" + "x" * 15] * container.MAX_TEXTS).tobytes())]


def with_texts(content: bytes, texts: bytes) -> bytes:
    """A table's file with other texts, which come last in it."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    begin, _ = header["texts"]["data_offsets"]
    header["texts"].update(shape=[len(texts)], data_offsets=[begin, begin + len(texts)])
    return signed(header, content[8 + length : 8 + length + begin] + texts, random.Random(0))


def kind_of(content: bytes) -> str:
    return str(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["kind"])


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


class Guard:
    """What a file may take: its size and 64 MiB beyond what the process has now (on Linux)."""

    def __init__(self) -> None:
        self.off = resource is None or sys.platform != "linux"
        if not self.off:
            self.now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            self.libc = ctypes.CDLL(None)

    def outcome(self, path: Path, size: int, measured: bool) -> str:
        """What becomes of a file; `measured`: by its peak as well, which no memory given back before makes smaller."""
        if self.off:
            return load(path)
        before = self._reset() if measured else 0
        resource.setrlimit(resource.RLIMIT_AS, (self.now + size + LIMIT, resource.RLIM_INFINITY))
        try:
            found = load(path)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        taken = self._status("VmHWM") - before if measured else 0
        return found if taken <= size + LIMIT else f"{found}, {taken >> 20} MiB for {size >> 20}"

    def _reset(self) -> int:
        """Gives back what is free, and begins anew to look for the peak."""
        if hasattr(self.libc, "malloc_trim"):
            self.libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        return self._status("VmRSS")

    @staticmethod
    def _status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def load(path: Path) -> str:
    try:
        return type(cnn.load(path)).__name__
    except cnn.ModelFormatError:
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=["network", "checkpoint", "estimator", "table"], help="default: all")
    parser.add_argument("--keep", type=Path, default=Path("."), help="where a file goes that is not treated well")
    arguments = parser.parse_args()
    # Made in a process of its own: what this one has had and given back would be memory to spare.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        made = [other.submit(make).result() for make in (seeds, large)]
    originals, big = ([c for c in found if arguments.kind in (None, kind_of(c))] for found in made)
    rng, outcomes, slowest = random.Random(arguments.seed), Counter[str](), 0.0
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        path = Path(folder, "m.cnn")
        for content in originals:  # what is made at the first use of anything
            path.write_bytes(content)
            cnn.load(path)
        guard = Guard()
        for i in range(-len(big), arguments.count):  # the large ones as they are first
            is_large = bool(big) and (i < 0 or i % LARGE_EVERY < 2)
            content, sign = rng.choice(big if is_large else originals), i % 2 == 1
            mutant = big[i] if i < 0 else (forged if sign else damage)(content, originals, rng)
            path.write_bytes(mutant)
            start = time.perf_counter()
            found = guard.outcome(path, len(mutant), is_large)
            seconds = time.perf_counter() - start
            slowest = max(slowest, seconds)
            taken = found in MODELS and (sign or mutant == content or i < 0)  # what is damaged must not be
            if not (found == "refused" or taken) or seconds > 1:
                kept = arguments.keep / f"mutant-{arguments.seed}-{i}.cnn"
                kept.write_bytes(mutant)
                print(f"mutant {i}: {found} after {seconds:.3f} s; it is in {kept}")
                return 1
            if i < 0:
                continue
            outcomes[("with right checksums, " if sign else "damaged, ") + found] += 1
    said = "; ".join(f"{name} {n:,}" for name, n in sorted(outcomes.items()))
    files = f"{len(originals)} files and {len(big)} large ones"
    print(f"{arguments.count:,} mutants of {files}, format {container.VERSION}: {said}; slowest {slowest:.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
