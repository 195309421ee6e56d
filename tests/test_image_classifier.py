"""`ImageClassifier`: arrays and folders of pictures, what it chooses, its files, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

import cnn
from cnn.images import folder, pixels, recipe

PIL = pytest.importorskip("PIL.Image")
SMALL = (cnn.Conv2D(4, 3, activation="relu"), cnn.GlobalAvgPool2D(), cnn.Dense(2))
rng = np.random.default_rng(0)


def striped(n: int = 60, size: tuple[int, ...] = (9, 8)) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images with stripes along or across, and which."""
    y = np.arange(n) % 2
    X = rng.integers(0, 60, (n, *size), dtype=np.uint8)
    X[y == 0, ::2] += 150
    X[y == 1, :, ::2] += 150
    return X, np.array(["across", "along"])[y]


def model(**how: Any) -> cnn.ImageClassifier:
    return cnn.ImageClassifier(**{"layers": SMALL, "epochs": 30, "learning_rate": 0.05, "random_state": 0} | how)


def pictures(place: Path, n: int = 12, mode: str = "L", size: tuple[int, int] = (9, 8)) -> Path:
    """A folder of a folder for each class."""
    X, y = striped(n, size if mode == "L" else (*size, 3))
    for i, (image, label) in enumerate(zip(X, y, strict=True)):
        (place / str(label)).mkdir(parents=True, exist_ok=True)
        PIL.fromarray(image).save(place / str(label) / f"{i:03}.png")
    return place


# Arrays ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64"])
def test_arrays_of_bytes_and_of_floats(dtype: str, channels: tuple[int, ...]) -> None:
    X, y = striped(60, (9, 8, *channels))
    given = X / 255 if dtype.startswith("float") else X
    given = given.astype(dtype)
    before = given.copy()
    fitted = model().fit(given, y)
    assert np.array_equal(given, before)
    assert fitted.image_shape_ == (9, 8, *(channels or (1,)))
    assert fitted.classes_.tolist() == ["across", "along"]
    assert fitted.score(given, y) > 0.95
    p = fitted.predict_proba(given)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert fitted.classes_[p.argmax(axis=1)].tolist() == fitted.predict(given).tolist()
    if dtype != "float64":  # bytes are read as a 255th of them
        as_floats = fitted.predict_proba((X / 255).astype("float32"))
        np.testing.assert_allclose(fitted.predict_proba(X), as_floats, atol=1e-4)
    assert fitted.predict(given[:0]).shape == (0,)


@pytest.mark.parametrize("labels", [[7, -3], [2.0, -1.0], [True, False], ["a", "b"]])
def test_labels_of_any_type(labels: list[Any]) -> None:
    X, y = striped()
    y = np.array(labels)[(y == "along").astype(int)]
    fitted = model(epochs=1).fit(X, y)
    assert fitted.classes_.tolist() == sorted(labels)
    assert set(fitted.predict(X).tolist()) <= set(labels)


def test_the_networks_that_it_chooses() -> None:
    X, y = striped(40, (17, 20))
    fitted = cnn.ImageClassifier("fast", epochs=2, random_state=0).fit(X, y)
    kinds = [type(layer).__name__ for layer in fitted.network_.descriptions]
    assert kinds[:5] == ["Conv2D", "BatchNorm", "Conv2D", "BatchNorm", "MaxPool2D"]
    assert kinds[-3:] == ["Flatten", "Dropout", "Dense"]
    assert "Add" in kinds
    assert fitted.n_iter_ == 2
    assert "Flatten" in fitted.summary()
    many = recipe.layers((32, 32, 3), 1000, 16)  # as many weights in the last layer as that would have are too many
    assert [type(layer).__name__ for layer in many[-2:]] == ["GlobalAvgPool2D", "Dense"]
    for shape in ((1, 1, 1), (8, 8, 1), (28, 28, 1), (33, 20, 3), (64, 96, 3), (224, 224, 3)):
        net = cnn.Network(recipe.layers(shape, 5, 4), loss="cross_entropy").build(shape)
        assert net.n_outputs == 5
        last = [s for s in net.plan.shapes if len(s) == 3][-1]
        assert min(last[:2]) <= 8
    for effort, budget in recipe.BUDGETS.items():
        length = recipe.length(effort, 60_000, None, None)
        assert length.batch_size == 128
        assert abs(length.epochs * 60_000 - budget.images) < 60_000
        assert recipe.length(effort, 10, None, None) == (budget.epochs, 16)
    assert recipe.length("fast", 10, 3, 7) == (3, 7)


def test_bits_are_those_of_any_number_of_threads() -> None:
    X, y = striped()
    first, second = (model(epochs=2, n_threads=n).fit(X, y) for n in (1, 2))
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))
    third = clone(first).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(first.predict_proba(X), third.predict_proba(X))


def test_rows_that_are_held_out_are_of_each_class_alike() -> None:
    X, y = striped(100)
    fitted = model(validation_split=0.2).fit(X, y)
    assert fitted.history_.val_accuracy[-1] > 0.9
    with pytest.raises(ValueError, match="test_size = 1 should be greater"):
        model(validation_split=0.2).fit(X[:4], y[:4])


def test_a_fit_ends_in_time() -> None:
    X, y = striped(200)
    assert model(epochs=10_000, max_seconds=1.0).fit(X, y).n_iter_ < 10_000
    assert model(epochs=2, max_seconds=600).fit(X, y).n_iter_ == 2
    with pytest.raises(ValueError, match=r"max_seconds leaves .* s, and one epoch takes about"):
        model(max_seconds=1e-9).fit(X, y)


def test_scikit_learns_cross_validation_takes_it() -> None:
    X, y = striped(60)
    assert cross_val_score(model(), X, y, cv=2).shape == (2,)
    searched = GridSearchCV(model(epochs=1), {"learning_rate": [0.01, 0.05]}, cv=2).fit(X, y)
    assert searched.predict(X).shape == (60,)


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_images_of_zeros_and_ones(dtype: str) -> None:
    X, y = striped()
    ones = X > 100
    assert np.array_equal(pixels.checked(ones)[..., 0], ones.astype(np.float32))
    fitted = model().fit(ones, y)
    assert fitted.score(ones, y) == fitted.score(ones.astype(np.float32), y) > 0.95
    with pytest.warns(UserWarning, match="X of whole numbers is 0 or 1, read as 0 and 1/255"):
        model(epochs=1).fit(ones.astype(dtype), y)
    assert np.array_equal(pixels.checked(ones.astype(dtype), (9, 8, 1))[..., 0], ones)  # black images to be predicted


# Folders --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_for_each_class(tmp_path: Path, mode: str) -> None:
    place = pictures(tmp_path / "train", 40, mode)
    (place / "notes.txt").write_text("no class")
    (place / "along" / "notes.txt").write_text("no picture")
    (place / ".hidden").mkdir()
    fitted = model().fit(place)
    assert fitted.classes_.tolist() == ["across", "along"]
    assert fitted.image_shape_ == (9, 8, 1 if mode == "L" else 3)
    assert fitted.score(place) == fitted.score(str(place)) > 0.9
    files = sorted((place / "along").glob("*.png"))
    assert (fitted.predict(files) == fitted.predict(place / "along")).all()
    assert fitted.predict(files[0]).shape == (1,)
    assert (fitted.predict(files) == "along").mean() > 0.8


def test_sizes_are_the_median_or_what_is_asked_for(tmp_path: Path) -> None:
    place = pictures(tmp_path, 8)
    for i, size in enumerate([(300, 200), (10, 10)]):
        PIL.new("L", size).save(place / "along" / f"z{i}.png")
    paths = folder.found(place, classes=True).paths
    assert folder.shape_of(paths, None) == (9, 8, 1)
    assert folder.shape_of(paths, (5, 6)) == (5, 6, 1)
    assert folder.shape_of(paths[-2:-1], None) == (64, 96, 1)
    assert model(image_size=(12, 16), epochs=1).fit(place).image_shape_ == (12, 16, 1)
    PIL.new("RGB", (8, 9)).save(place / "along" / "colour.png")
    assert folder.shape_of(folder.found(place, classes=True).paths, None) == (9, 8, 3)


def test_pictures_of_all_modes_become_bytes(tmp_path: Path) -> None:
    grey = np.arange(72, dtype=np.uint8).reshape(9, 8)
    for name, picture in {
        "deep.png": PIL.fromarray(grey.astype(np.uint16) * 257), "alpha.png": PIL.fromarray(grey).convert("LA"),
        "plain.bmp": PIL.fromarray(grey), "palette.gif": PIL.fromarray(grey).convert("P"),
        "colour.png": PIL.fromarray(grey).convert("RGBA"),
    }.items():  # fmt: skip
        picture.save(tmp_path / name)
        found, _ = folder.read([tmp_path / name], (9, 8, 1), "raise")
        np.testing.assert_allclose(found[0, ..., 0].astype(int), grey, atol=1, err_msg=name)
        assert folder.read([tmp_path / name], (9, 8, 3), "raise")[0].shape == (1, 9, 8, 3)
    turned = PIL.fromarray(grey)
    exif = turned.getexif()
    exif[0x0112] = 6  # lies on its side
    turned.save(tmp_path / "turned.png", exif=exif)
    assert folder.shape_of([tmp_path / "turned.png"], None) == (8, 9, 1)
    assert np.array_equal(folder.read([tmp_path / "turned.png"], (8, 9, 1), "raise")[0][0, ..., 0], np.rot90(grey, -1))


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    place = pictures(tmp_path, 20)
    whole = (place / "along" / "001.png").read_bytes()
    (place / "along" / "a.png").write_bytes(b"no picture")
    (place / "along" / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"along.a\.png is no picture that can be read: "):
        model().fit(place)
    with pytest.warns(UserWarning, match=r"2 of 22 pictures can't be read and are left out: .*a\.png, .*b\.png"):
        fitted = model(on_broken="skip").fit(place)
    with pytest.warns(UserWarning, match="2 of 22 pictures"):
        assert fitted.score(place) > 0.8
    with pytest.raises(ValueError, match=r"none of 1 files is a picture that can be read; the first is .*a\.png"):
        fitted.predict([place / "along" / "a.png"])
    with pytest.raises(ValueError, match="none of 1 files is a picture that can be read"):
        folder.shape_of([place / "along" / "a.png"], None)


def test_folders_that_can_not_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no "):
        model().fit(tmp_path / "none")
    with pytest.raises(ValueError, match="must hold a folder of pictures for each class, two at least, got 0"):
        model().fit(tmp_path)
    pictures(tmp_path, 6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no pictures: each folder is a class"):
        model().fit(tmp_path)
    (tmp_path / "empty").rmdir()
    with pytest.raises(ValueError, match="y must be None for a folder: the folders in it are the classes"):
        model().fit(tmp_path, ["a"])
    fitted = model(epochs=1).fit(tmp_path)
    with pytest.raises(ValueError, match="y must be None for a folder: the folders in it are the classes"):
        fitted.score(tmp_path, ["a"])
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="other holds no pictures"):
        fitted.predict(tmp_path / "other")


# Files, errors --------------------------------------------------------------------------------------------------------


def test_a_file_predicts_the_same(tmp_path: Path) -> None:
    X, y = striped()
    fitted = model(image_size=(9, 8), validation_split=0.25, epochs=2).fit(X, y)
    fitted.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.ImageClassifier)
    assert again.predict_proba(X).tobytes() == fitted.predict_proba(X).tobytes()
    assert again.predict(X).tolist() == fitted.predict(X).tolist()
    assert again.get_params() == fitted.get_params()
    assert again.history_.val_accuracy == fitted.history_.val_accuracy
    assert (again.n_iter_, again.image_shape_) == (2, (9, 8, 1))
    again.fit(X, y)
    fitted.set_params(random_state=np.random.RandomState(0))
    with pytest.warns(UserWarning, match="saved without random_state"):
        fitted.save(tmp_path / "n.cnn")
    assert cnn.load(tmp_path / "n.cnn").random_state is None


def test_arguments_that_can_not_be() -> None:
    X, y = striped()
    for how, text in {
        "effort": ("most", "effort must be one of fast, default, best, got 'most'"),
        "on_broken": ("hide", "on_broken must be 'raise' or 'skip', got 'hide'"),
        "epochs": (0, "epochs must be"), "batch_size": (0, "batch_size must be"), "n_threads": (0, "n_threads must be"),
        "max_seconds": (0, "max_seconds must be"), "learning_rate": (-1, "learning_rate must be"),
        "validation_split": (1, "validation_split must be"), "image_size": ((0, 3), "image_size must be"),
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=text[1]):
            model(**{how: text[0]}).fit(X, y)
    with pytest.raises(ValueError, match=r"image_size must be \(height, width\), got \(3,\)"):
        model(image_size=(3,)).fit(X, y)
    with pytest.raises(ValueError, match="layers have 3 outputs, and y has 2 classes"):
        model(layers=[cnn.Flatten(), cnn.Dense(3)]).fit(X, y)


def test_images_and_labels_that_can_not_be() -> None:
    X, y = striped()
    with pytest.raises(NotFittedError, match="this ImageClassifier is not fitted yet: call fit first"):
        model().predict(X)
    with pytest.raises(ValueError, match=r"y must hold two classes at least, got \['a'\]"):
        model().fit(X, ["a"] * 60)
    with pytest.raises(ValueError, match=r"y must be labels \(60,\), one for each image, got shape \(3,\)"):
        model().fit(X, y[:3])
    with pytest.raises(ValueError, match=r"y must be labels \(60,\), one for each image, got none"):
        model().fit(X)
    with pytest.raises(ValueError, match=r"X must be images \(n, height, width\) or .*, got shape \(60, 72\)"):
        model().fit(X.reshape(60, -1), y)
    with pytest.raises(TypeError, match="X must be images of uint8 or of floats, got an array of <U1"):
        model().fit(np.full((60, 3, 3), "a"), y)
    with pytest.raises(ValueError, match="X must be finite, got NaN or infinity"):
        model().fit(np.full((60, 9, 8), np.nan), y)
    with pytest.raises(ValueError, match=r"float images must be scaled, best to 0 \.\. 1, got numbers up to 255"):
        model().fit(np.full((60, 9, 8), 255.0), y)
    with pytest.raises(ValueError, match=r"X of whole numbers must lie in 0 \.\. 255, got -1 \.\. 3"):
        pixels.checked(np.array([[[-1, 3]]]))
    fitted = model(epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=r"X must be images of shape \(9, 8, 1\), as those of the fit, got \(8, 9,"):
        fitted.predict(X.reshape(60, 8, 9))


# How images are changed -----------------------------------------------------------------------------------------------


def test_shifts_and_flips_by_default() -> None:
    """Arrows point to the left or to the right: who flips them learns nothing."""
    y = np.arange(200) % 2
    X = rng.integers(0, 60, (200, 16, 16), dtype=np.uint8)
    X[:, 7:9, 3:13] += 150
    for i in range(4):
        X[y == 0, 4 + i : 12 - i, 6 - i] = 250
        X[y == 1, 4 + i : 12 - i, 9 + i] = 250
    fitted = model(epochs=12).fit(X, y)
    assert fitted.augment_ == [cnn.augment.Shift(1)]
    assert fitted.score(X, y) > 0.8
    stack, index = list(SMALL), y.astype(np.int32)
    assert recipe.augmentation(stack, X, index, recipe.Length(7, 16), 0, None) == []
    assert recipe.augmentation(stack, X[:, :7], index, recipe.Length(20, 16), 0, None) == []
    assert recipe.augmentation(stack, X, index, recipe.Length(20, 16), 0, 1) == [cnn.augment.Shift(1)]
    assert not recipe.flips_help(stack, X[..., None], index, cnn.augment.Shift(1), 0, 1)


def test_changes_that_are_asked_for(tmp_path: Path) -> None:
    X, y = striped()
    changes = [cnn.augment.Flip(vertical=True), cnn.augment.Noise(0.1)]
    fitted = model(augment=changes, epochs=2).fit(X, y)
    assert fitted.augment_ == changes
    plain = model(augment=None, epochs=2).fit(X, y)
    assert plain.augment_ == []
    assert not np.array_equal(plain.predict_proba(X), fitted.predict_proba(X))
    fitted.save(tmp_path / "m.cnn")
    again = cnn.load(tmp_path / "m.cnn", cnn.ImageClassifier)
    assert list(again.augment) == changes
    assert again.fit(X, y).augment_ == changes
    with pytest.raises(ValueError, match="augment must be 'auto', None, or how images are changed, got 'most'"):
        model(augment="most").fit(X, y)
    with pytest.raises(TypeError, match="augment must be"):
        model(augment=[3]).fit(X, y)
