"""The container of all files: safetensors with a checksum for the header and one for each tensor, read strictly.

docs/files.md describes it. Nothing here knows what the tensors are for; files.py does.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from typing import Any, BinaryIO

import numpy as np

from cnn._common.errors import ModelFormatError
from cnn._version import __version__
from cnn.files import strict_json
from cnn.files.atomic import replacing

Array = np.ndarray[Any, Any]

VERSION = 1
MAX_HEADER = 1 << 20  # bytes; JSON of that size makes objects of some 30 MiB
# A string takes some 70 bytes besides its characters, and each of these up to four where one of them is rare: a tensor
# of texts within these bounds becomes at most 60 MiB of objects.
MAX_TEXT = 4 << 20  # bytes
MAX_TEXTS = 1 << 17
MAX_RANK = 8
_DTYPES = {
    "F64": "<f8", "I64": "<i8", "U64": "<u8", "F32": "<f4", "I32": "<i4", "U32": "<u4", "I16": "<i2", "U16": "<u2",
    "I8": "|i1", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_CHUNK = 1 << 20
_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)
_KIND = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_WRITER = re.compile(r"\d{1,6}(\.\d{1,6}){0,3}(\.?[a-z]{1,4}\d{0,6})?", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NO_DIGEST = "0" * 64
# The header's own checksum stands first, so that its place is known before anything is parsed.
_BEGIN = b'{"__metadata__":{"checksum":"'
_METADATA = ["checksum", "format", "version", "writer", "kind", "model", "sha256"]


# Writing --------------------------------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], kind: str, payload: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Writes a file of that kind, whole or not at all.

    Args:
        kind: what `cnn.load` makes of it.
        payload: plain JSON values; with the names of tensors at most 1 MiB, so long lists belong into tensors.
        tensors: arrays of float32, float64, integers or bool by name (letters, digits, `_`, `.`, `-`).
    """
    ready = {name: _ready(name, value) for name, value in tensors.items()}
    # The widest elements first: each tensor then begins at a multiple of its own element.
    names = sorted(ready, key=lambda name: -ready[name].itemsize)
    digests = dict.fromkeys(names, _NO_DIGEST)
    header = _header(kind, payload, ready, digests)
    with replacing(path) as file:
        file.write(header)
        for name in names:
            digests[name] = _write_array(file, ready[name])
        file.seek(0)
        file.write(_header(kind, payload, ready, digests))


def _ready(name: str, value: Any) -> Array:
    array = np.asarray(value)
    if not _TENSOR_NAME.fullmatch(name):
        raise ValueError(f"the name of a tensor must be letters, digits, '_', '.' or '-', got {name!r}")
    little = array.dtype.newbyteorder("<")
    if little not in _NAMES or array.ndim > MAX_RANK:
        raise TypeError(f"tensor {name!r} can't be stored: dtype {array.dtype}, {array.ndim} dimensions")
    return np.require(array, little, ["C_CONTIGUOUS"])


def _write_array(file: BinaryIO, array: Array) -> str:
    """Its bytes, from the same copies that the checksum is taken of: another thread may be training these weights."""
    digest, view = hashlib.sha256(), array.reshape(-1).view(np.uint8).data
    for begin in range(0, len(view), _CHUNK):
        chunk = bytes(view[begin : begin + _CHUNK])
        digest.update(chunk)
        file.write(chunk)
    return digest.hexdigest()


def _header(kind: str, payload: Mapping[str, Any], tensors: Mapping[str, Array], digests: Mapping[str, str]) -> bytes:
    assert _KIND.fullmatch(kind)
    metadata = {
        "checksum": _NO_DIGEST, "format": "cnn", "version": str(VERSION), "writer": __version__, "kind": kind,
        "model": strict_json.dumps(payload), "sha256": strict_json.dumps(digests),
    }  # fmt: skip
    entries: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name in digests:
        array = tensors[name]
        entries[name] = {
            "dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes],
        }  # fmt: skip
        at += array.nbytes
    text = strict_json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the description of this {kind} takes {len(text):,} bytes; a file holds {MAX_HEADER:,}")
    header = len(text).to_bytes(8, "little") + text
    return _with_checksum(header, hashlib.sha256(header).hexdigest())


def _with_checksum(header: bytes, digits: str) -> bytes:
    at = 8 + len(_BEGIN)
    return header[:at] + digits.encode() + header[at + 64 :]


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spec:
    """A tensor in the file: its type, its shape, its place in the data, its SHA-256."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int
    digest: str


class Contents:
    """An open file whose header is checked. Tensors are read, and checked, when they are taken; all must be taken."""

    def __init__(self, path: str, file: FileIO, size: int) -> None:
        self.path = path
        self._file = file
        self.writer = ""
        header = self._verified_header(size)
        self._data = 8 + len(header)
        try:
            entries = strict_json.loads(header)
            self._read_metadata(entries.pop("__metadata__"))
            self.specs = self._read_specs(entries, size - self._data)
        except strict_json.Refused as error:
            raise self.error(f"its header is not what it should be: {error}") from None
        self._left = set(self.specs)

    def error(self, text: str) -> ModelFormatError:
        """The error to raise for this file."""
        hint = ""
        if self.writer and _release(self.writer) > _release(__version__):
            hint = f" (cnn {self.writer} wrote it and is needed to read it, or a later version; this is {__version__})"
        return ModelFormatError(f"{self.path}: {text}{hint}")

    def _verified_header(self, size: int) -> bytes:
        """The header, once its length fits the file and its checksum is right."""
        if size < 8:
            raise self.error(f"not a model file: it has {size} bytes")
        begin = self._exactly(8)
        length = int.from_bytes(begin, "little")
        if not len(_BEGIN) + 64 <= length <= MAX_HEADER:
            raise self.error(f"not a model file: its header would have {length:,} bytes")
        if length > size - 8:
            raise self.error(f"cut short: a header of {length:,} bytes in a file of {size:,}")
        header = self._exactly(length)
        at = len(_BEGIN)
        if not header.startswith(_BEGIN):
            other = "a safetensors file, but not a model of cnn" if header[:1] == b"{" else "not a model file"
            raise self.error(other)
        zeroed = _with_checksum(begin + header, _NO_DIGEST)
        if header[at : at + 64] != hashlib.sha256(zeroed).hexdigest().encode():
            raise self.error("damaged: the checksum of its header is wrong")
        return header

    def _exactly(self, n: int) -> bytes:
        content = self._file.read(n)
        if len(content) != n:
            raise self.error("cut short while it was read")
        return content

    def _read_metadata(self, metadata: Any) -> None:
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise self.error("its metadata are not texts by name")
        writer = metadata.get("writer", "")
        if metadata.get("format") != "cnn" or not _WRITER.fullmatch(writer):
            raise self.error("a safetensors file, but not a model of cnn")
        self.writer = writer
        if metadata.get("version") != str(VERSION):
            found = strict_json.shown(metadata.get("version"))
            raise self.error(f"of format version {found}; this version of cnn reads {VERSION}")
        if list(metadata) != _METADATA:
            raise self.error(f"its metadata must be {', '.join(_METADATA)}, got {strict_json.shown(list(metadata))}")
        self.kind = metadata["kind"]
        if not _KIND.fullmatch(self.kind):
            raise self.error(f"of the unknown kind {strict_json.shown(self.kind)}")
        self.payload = strict_json.loads(metadata["model"].encode("utf-8", "surrogatepass"))
        self._digests = strict_json.loads(metadata["sha256"].encode("utf-8", "surrogatepass"))

    def _read_specs(self, entries: dict[str, Any], size: int) -> dict[str, Spec]:
        """The tensors, which fill the data without a gap or an overlap, in the order of the header."""
        if not isinstance(self._digests, dict) or list(self._digests) != list(entries):
            raise self.error("its checksums are not those of its tensors")
        specs: dict[str, Spec] = {}
        at = 0
        for name, entry in entries.items():
            spec = self._read_spec(name, entry, at)
            if spec.end > size:
                raise self.error(f"cut short: tensor {name} ends at byte {spec.end:,} of {size:,}")
            specs[name], at = spec, spec.end
        if at != size:
            raise self.error(f"its tensors have {at:,} bytes, but {size:,} follow the header")
        return specs

    def _read_spec(self, name: str, entry: Any, at: int) -> Spec:
        if not _TENSOR_NAME.fullmatch(name):
            raise self.error(f"a tensor is named {strict_json.shown(name)}")
        dtype, shape, offsets = self.fields(entry, "dtype", "shape", "data_offsets")
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise self.error(f"tensor {name} is of the unknown type {strict_json.shown(dtype)}")
        if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(_is_size(n) for n in shape):
            raise self.error(f"tensor {name} has the shape {strict_json.shown(shape)}")
        n_bytes = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        if not isinstance(offsets, list) or offsets != [at, at + n_bytes] or not all(_is_size(n) for n in offsets):
            raise self.error(f"tensor {name} must be at bytes [{at}, {at + n_bytes}], got {strict_json.shown(offsets)}")
        digest = self._digests[name]
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise self.error(f"the checksum of tensor {name} is {strict_json.shown(digest)}")
        return Spec(np.dtype(_DTYPES[dtype]), tuple(shape), at, at + n_bytes, digest)

    def fields(self, entry: Any, *names: str, older: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """The values of these names, which must be all there are; `older` has those of files without them."""
        if not isinstance(entry, dict):
            raise self.error(f"expected the fields {', '.join(names)}, got {strict_json.shown(entry)}")
        entry = {**(older or {}), **entry}
        for name in names:
            if name not in entry:
                raise self.error(f"the field {name!r} is missing")
        for name in entry:
            if name not in names:
                raise self.error(f"unknown field {strict_json.shown(name)}; known: {', '.join(names)}")
        return tuple(entry[name] for name in names)

    def spec(self, name: str, dtype: Any, shape: tuple[int, ...] | None = None) -> Spec:
        """Of a tensor of this type and, unless None, shape."""
        if name not in self.specs:
            raise self.error(f"tensor {strict_json.shown(name)} is missing")
        spec = self.specs[name]
        if spec.dtype != np.dtype(dtype) or (shape is not None and spec.shape != tuple(shape)):
            expected = f"{np.dtype(dtype)}" + (f" of shape {tuple(shape)}" if shape is not None else "")
            raise self.error(f"tensor {name} must be {expected}, got {spec.dtype} of shape {spec.shape}")
        return spec

    def read_tensor(self, name: str, dtype: Any, shape: tuple[int, ...] | None = None) -> Array:
        """A tensor of this type and, unless None, shape."""
        out = np.empty(self.spec(name, dtype, shape).shape, dtype)
        self.read_into(name, out)
        return out

    def read_into(self, name: str, out: Array) -> None:
        """Reads a tensor into an array (C-contiguous) of its type and shape, and checks its digest."""
        spec = self.spec(name, out.dtype, out.shape)
        view = out.reshape(-1).view(np.uint8).data
        self._file.seek(self._data + spec.begin)
        done = 0
        while done < len(view):
            n = self._file.readinto(view[done:])
            if not n:
                raise self.error(f"cut short while tensor {name} was read")
            done += n
        self._check_digest(name, hashlib.sha256(view).hexdigest())
        if spec.dtype == np.bool_ and view.nbytes and out.view(np.uint8).max() > 1:
            raise self.error(f"tensor {name} must hold 0 and 1")

    def skip(self, name: str) -> None:
        """Checks a tensor that is not needed."""
        spec = self.specs[name]
        self._file.seek(self._data + spec.begin)
        digest, left = hashlib.sha256(), spec.end - spec.begin
        while left:
            chunk = self._exactly(min(left, _CHUNK))
            digest.update(chunk)
            left -= len(chunk)
        self._check_digest(name, digest.hexdigest())

    def _check_digest(self, name: str, found: str) -> None:
        if found != self.specs[name].digest:
            raise self.error(f"damaged: the checksum of tensor {name} is wrong")
        self._left.discard(name)

    def finish(self) -> None:
        """Refuses a file with tensors that nobody has taken."""
        if self._left:
            raise self.error(f"unknown tensor {min(self._left)}")


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.split(".") if n.isdigit())


@contextmanager
def read(path: str | os.PathLike[str]) -> Iterator[Contents]:
    """The contents of a file, open; at the end every tensor must have been taken.

    Raises:
        ModelFormatError: anything about it is not as docs/files.md says.
        OSError: there is no such file, or it can't be read.
    """
    name = os.fspath(path)
    if not stat.S_ISREG(os.stat(name).st_mode) and not os.path.isdir(name):  # a pipe would be waited for
        raise ModelFormatError(f"{name}: not a regular file")
    with open(name, "rb", buffering=0) as file:
        contents = Contents(name, file, os.fstat(file.fileno()).st_size)
        yield contents
        contents.finish()


def peek(path: str | os.PathLike[str]) -> Any:
    """What a file says of itself, its header verified; no tensor is read. Raises as `read` does."""
    with open(path, "rb", buffering=0) as file:
        return Contents(os.fspath(path), file, os.fstat(file.fileno()).st_size).payload


# Texts ----------------------------------------------------------------------------------------------------------------


def pack_text(texts: list[str]) -> Array:
    """Texts as one uint8 tensor: a JSON list in UTF-8, for lists too long for the payload.

    Raises ValueError for more than a file holds: 4 MiB, or 131,072 texts.
    """
    text = strict_json.dumps(texts).encode()
    if said := _too_long(text):
        raise ValueError(said)
    return np.frombuffer(text, np.uint8)


def _too_long(text: bytes) -> str:
    if len(text) > MAX_TEXT:
        return f"texts of {len(text):,} bytes; a file holds {MAX_TEXT:,}"
    if (quotes := text.count(b'"')) > 2 * MAX_TEXTS:
        return f"texts with {quotes:,} quotation marks, those around them included; a file holds {2 * MAX_TEXTS:,}"
    return ""


def unpack_text(contents: Contents, name: str) -> list[str]:
    """The texts of such a tensor."""
    spec = contents.spec(name, np.uint8)
    if spec.end - spec.begin > MAX_TEXT:
        raise contents.error(f"tensor {name} must be texts of {MAX_TEXT:,} bytes at most, got {spec.shape}")
    text = contents.read_tensor(name, np.uint8).tobytes()
    if said := _too_long(text):
        raise contents.error(f"tensor {name} holds {said}")
    try:
        texts = strict_json.loads(text, max_depth=1)
    except strict_json.Refused as error:
        raise contents.error(f"tensor {name} does not hold texts: {error}") from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise contents.error(f"tensor {name} does not hold texts")
    return texts
