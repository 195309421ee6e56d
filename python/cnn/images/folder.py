"""Pictures in folders, one folder for each class, as arrays (extra `images`: Pillow)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cnn._common import console
from cnn.runtime.data import Array

OnBroken = Literal["raise", "skip"]
_LONGEST = 96  # pixels of a side, where no size is asked for
_SIXTEEN = ("I;16", "I;16B", "I;16L")
_GREY = ("1", "L", "LA", "I", *_SIXTEEN, "F")
_ORIENTATION = 0x0112  # in EXIF


class Pictures(NamedTuple):
    """Files, and the class of each where they lie in folders of classes."""

    paths: list[Path]
    labels: list[str] | None


def pillow() -> Any:
    """Pillow's `Image`."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading pictures needs Pillow (extra 'images'): pip install pillow") from error
    return Image


def is_place(X: Any) -> bool:
    """Whether X is a folder or a list of files instead of an array."""
    if isinstance(X, str | os.PathLike):
        return True
    return isinstance(X, Sequence) and bool(X) and all(isinstance(item, str | os.PathLike) for item in X)


def found(place: Any, classes: bool) -> Pictures:
    """The pictures in and below a folder, in the order of their names; with `classes`, of its folders, the classes.

    Pictures beside the folders of classes are left out, with a warning.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: no pictures at all; with `classes`, fewer than two folders, or one without a picture.
    """
    if not isinstance(place, str | os.PathLike):
        return Pictures([_there(Path(item)) for item in place], None)
    folder = _there(Path(place))
    if folder.is_file():
        return Pictures([folder], None)
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        paths = _pictures(folder)
        if not paths:
            raise ValueError(f"{folder} holds no pictures")
        return Pictures(paths, None)
    if len(inner) < 2:
        raise ValueError(
            f"{folder} must hold a folder of pictures for each class, two at least, got {len(inner)} of them"
        )
    paths, labels = [], []
    for each in inner:
        of_class = _pictures(each)
        if not of_class:
            raise ValueError(f"{each} holds no pictures: each folder is a class")
        paths += of_class
        labels += [each.name] * len(of_class)
    if beside := _pictures(folder, below=False):
        console.warn(
            f"{len(beside)} pictures lie beside the folders of classes in {folder}, and are left out; the first is "
            f"{beside[0].name}"
        )
    return Pictures(paths, labels)


def _there(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    return path


def _pictures(folder: Path, below: bool = True) -> list[Path]:
    """Files whose names end as those of pictures that Pillow reads, in the folders `below` too; none that is hidden."""
    Image = pillow()
    known = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}

    def shown(path: Path) -> bool:
        return not any(part.startswith(".") for part in path.relative_to(folder).parts)

    every = folder.rglob("*") if below else folder.iterdir()
    return sorted(path for path in every if path.suffix.lower() in known and shown(path) and path.is_file())


def shape_of(paths: Sequence[Path], size: tuple[int, int] | None) -> tuple[int, ...]:
    """(height, width, channels) for all: their median size, 96 pixels at most; grey where all are grey.

    Broken files have no say.
    """
    Image = pillow()
    sizes, grey = [], True
    for path in paths:
        try:
            with Image.open(path) as picture:
                turned = _orientation(picture) >= 5  # they lie on their side
                if turned and picture.format == "TIFF":  # which Pillow turns itself
                    picture.load()
                    turned = False
                sizes.append(picture.size if turned else picture.size[::-1])
                grey = grey and picture.mode in _GREY
        except MemoryError:
            raise
        except Exception:  # Pillow's readers raise what they meet, struct.error and RuntimeError too
            continue
    if size is None:
        if not sizes:
            raise ValueError(f"none of {len(paths)} files is a picture that can be read; the first is {paths[0]}")
        middle = np.median(sizes, axis=0)
        middle *= min(1.0, _LONGEST / middle.max())
        size = max(1, round(float(middle[0]))), max(1, round(float(middle[1])))
    return (*size, 1 if grey else 3)


def read(paths: Sequence[Path], shape: tuple[int, ...], on_broken: OnBroken) -> tuple[Array, Array]:
    """(pictures (n, height, width, channels) of bytes, which of the files they are); each is stretched to that size.

    Raises:
        ValueError: a broken file, which is named, unless they are left out, with a warning.
    """
    out = np.empty((len(paths), *shape), np.uint8)
    kept: list[int] = []
    broken: list[Path] = []
    for path in paths:
        try:
            out[len(kept)] = _picture(path, shape)
        except MemoryError:
            raise
        except Exception as error:  # as above
            if on_broken == "raise":
                why = str(error) or type(error).__name__
                raise ValueError(f"{path} is no picture that can be read: {why}") from None
            broken.append(path)
            continue
        kept.append(len(kept) + len(broken))
    if broken:
        if not kept:
            raise ValueError(f"none of {len(paths)} files is a picture that can be read; the first is {broken[0]}")
        names = ", ".join(map(str, broken[:3])) + (", ..." if broken[3:] else "")
        console.warn(f"{len(broken)} of {len(paths)} pictures can't be read and are left out: {names}")
    return out[: len(kept)], np.array(kept, np.intp)


def _picture(path: Path, shape: tuple[int, ...]) -> Array:
    Image = pillow()
    height, width, channels = shape
    with Image.open(path) as file:
        file.load()  # TIFF is turned by it, and says so no more
        way = _orientation(file)
        picture = _bytes(file).convert("L" if channels == 1 else "RGB")
        if way > 1:
            picture = picture.transpose(_turn(way))
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(shape)


def _bytes(picture: Any) -> Any:
    """A picture of 8 bits a pixel: of 16 bits the largest is white whatever there is, of floats in [0, 1] the 1."""
    if picture.mode not in (*_SIXTEEN, "I", "F"):
        return picture
    values = np.asarray(picture, np.float64)
    top = 65535.0
    if picture.mode not in _SIXTEEN and (largest := values.max(initial=0.0)) <= 255:
        top = 1.0 if picture.mode == "F" and largest <= 1 else 255.0
    return pillow().fromarray((values * (255.0 / top)).clip(0, 255).round().astype(np.uint8))


def _orientation(picture: Any) -> int:
    """How a picture lies, 1 .. 8, by its EXIF; 1 where that is none or can't be read."""
    try:
        way = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF: the picture itself may be whole
        return 1
    return way if isinstance(way, int) and 1 <= way <= 8 else 1


def _turn(way: int) -> Any:
    """What sets a picture upright that lies so."""
    Turn = pillow().Transpose
    return (Turn.FLIP_LEFT_RIGHT, Turn.ROTATE_180, Turn.FLIP_TOP_BOTTOM, Turn.TRANSPOSE, Turn.ROTATE_270,
            Turn.TRANSVERSE, Turn.ROTATE_90)[way - 2]  # fmt: skip
