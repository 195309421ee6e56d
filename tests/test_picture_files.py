"""Files of pictures as arrays: bits a pixel, how they lie, and what readers raise."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
PIL = pytest.importorskip("PIL.Image")

from cnn.images import folder  # noqa: E402


def pictures(place: Path) -> Path:
    """Two classes of two pictures each."""
    rng = np.random.default_rng(0)
    for i in range(4):
        inner = place / ("across", "along")[i % 2]
        inner.mkdir(exist_ok=True)
        PIL.fromarray(rng.integers(0, 256, (9, 8), dtype=np.uint8)).save(inner / f"{i:03}.png")
    return place


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_alike_whatever_there_is(tmp_path: Path, name: str) -> None:
    for top in (200, 65535):
        deep = np.linspace(0, top, 72).reshape(9, 8).astype(np.uint16)
        picture = PIL.fromarray(deep)
        exif = picture.getexif()
        exif[0x0112] = 3  # upside down
        picture.save(tmp_path / name, exif=exif)
        found = folder.read([tmp_path / name], (9, 8, 1), "raise")[0][0, ..., 0]
        np.testing.assert_allclose(found, deep[::-1, ::-1] / 257, atol=0.5)


def test_floats_in_0_to_1_are_scaled_by_255(tmp_path: Path) -> None:
    for top, scale in ((1.0, 255), (0.5, 255), (200.0, 1)):
        values = np.linspace(0, top, 72, dtype=np.float32).reshape(9, 8)
        PIL.fromarray(values).save(tmp_path / "a.tif")
        found = folder.read([tmp_path / "a.tif"], (9, 8, 1), "raise")[0][0, ..., 0]
        np.testing.assert_allclose(found, values * scale, atol=0.51)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("way", range(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(tmp_path: Path, way: int, name: str) -> None:
    picture = PIL.fromarray(np.arange(72, dtype=np.uint8).reshape(9, 8))
    exif = picture.getexif()
    exif[0x0112] = way
    picture.save(tmp_path / name, exif=exif)
    with PIL.open(tmp_path / name) as file:
        expected = np.asarray(pytest.importorskip("PIL.ImageOps").exif_transpose(file))
    shape = folder.shape_of([tmp_path / name], None)
    assert np.array_equal(folder.read([tmp_path / name], shape, "raise")[0][0, ..., 0], expected)


@pytest.mark.parametrize("error", [struct.error("short"), RuntimeError("decoder"), NotImplementedError()])
def test_any_error_of_a_reader_is_a_broken_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    place = pictures(tmp_path)
    paths = folder.found(place, classes=True).paths
    whole = PIL.open

    def broken(path: Path) -> Any:
        if path == paths[0]:
            raise error
        return whole(path)

    monkeypatch.setattr(PIL, "open", broken)
    assert folder.shape_of(paths, None) == (9, 8, 1)
    why = str(error) or "NotImplementedError"
    with pytest.raises(ValueError, match=rf"000\.png is no picture that can be read: {why}"):
        folder.read(paths, (9, 8, 1), "raise")
    with pytest.warns(UserWarning, match="1 of 4 pictures can't be read"):
        assert folder.read(paths, (9, 8, 1), "skip")[1].tolist() == [1, 2, 3]


def test_memory_that_is_out_and_broken_exif_are_no_broken_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = folder.found(pictures(tmp_path), classes=True).paths
    expected = folder.read(paths, (9, 8, 1), "raise")[0]

    def fails(error: Exception) -> Any:
        def function(*_: Any) -> Any:
            raise error

        return function

    monkeypatch.setattr(PIL.Image, "getexif", fails(struct.error("bad EXIF")))
    assert folder.shape_of(paths, None) == (9, 8, 1)
    assert np.array_equal(folder.read(paths, (9, 8, 1), "raise")[0], expected)
    monkeypatch.setattr(PIL, "open", fails(MemoryError()))
    for call in (lambda: folder.shape_of(paths, None), lambda: folder.read(paths, (9, 8, 1), "skip")):
        with pytest.raises(MemoryError):
            call()


def test_what_are_pictures_in_a_folder(tmp_path: Path) -> None:
    place = pictures(tmp_path)
    (place / "across" / "folder.png").mkdir()
    (place / "across" / "only_written.pdf").write_bytes(b"%PDF-1.4")
    (place / "across" / ".hidden").mkdir()
    PIL.new("L", (8, 9)).save(place / "across" / ".hidden" / "a.png")
    assert len(folder.found(place, classes=True).paths) == 4
    (place / "empty").mkdir()
    PIL.new("L", (8, 9)).save(place / "x.png")
    names = [path.name for path in folder.found(place, classes=False).paths]
    assert sorted(names) == ["000.png", "001.png", "002.png", "003.png", "x.png"]
    (place / "empty").rmdir()
    with pytest.warns(UserWarning, match="1 pictures lie beside the folders of classes in .*; the first is x.png"):
        assert len(folder.found(place, classes=True).paths) == 4
