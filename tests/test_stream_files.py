"""Rows from mapped arrays and Parquet files: their order, their shares, and what can be wrong with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from streams import FLOAT, FORM, X, Y, alike, first

from cnn._common.errors import StreamError
from cnn.losses import Loss
from cnn.streams import source
from cnn.streams.arrays import Arrays, is_mapped
from cnn.streams.batches import Batches
from cnn.streams.parquet import Parquet
from cnn.streams.parts import recut
from cnn.streams.source import Form

# Mapped arrays --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mapped(tmp_path: Path) -> tuple[Any, Any]:
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return np.load(tmp_path / "X.npy", mmap_mode="r"), np.load(tmp_path / "y.npy", mmap_mode="r")


def small(monkeypatch: pytest.MonkeyPatch, piece: int, window: int) -> None:
    """Pieces and windows of so many rows of X."""
    monkeypatch.setattr(source, "_PIECE", piece * 12)
    monkeypatch.setattr(source, "_WINDOW", window * 12)


def test_mapped_arrays_are_known_whatever_view_they_are_of(mapped: tuple[Any, Any]) -> None:
    assert is_mapped(mapped[0])
    assert is_mapped(np.asarray(mapped[0])[5:, :2])
    assert not is_mapped(X)
    assert not is_mapped([1])


def test_arrays_are_read_in_order_or_mixed_by_seed_and_epoch(mapped: tuple[Any, Any], monkeypatch) -> None:
    small(monkeypatch, 30, 90)
    found = Arrays(*mapped, None, FORM, None)
    expected = first(0, 1000)
    assert found.rows == 1000
    alike(list(found.parts(0, None)), expected)
    orders = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        read = [np.concatenate([part.y for part in found.parts(epoch, seed)]).astype(int) for _ in range(2)]
        np.testing.assert_array_equal(*read)
        assert sorted(read[0]) == [*range(1000)]
        orders[seed, epoch] = tuple(read[0])
        # A window has rows of three pieces, wherever these stand, and no two pieces are neighbours by chance alone.
        assert len({number // 30 for number in read[0][:90].tolist()}) in (3, 4)
    assert len(set(orders.values())) == 3
    part = next(iter(found.parts(0, 0)))
    np.testing.assert_array_equal(part.X, X[part.y.astype(int)])


def test_shares_of_arrays_count_from_their_first_row(mapped: tuple[Any, Any], monkeypatch) -> None:
    small(monkeypatch, 30, 90)
    share = Arrays(*mapped, None, FORM, None).share(100, 900).share(50, 60)
    assert share.rows == 10
    alike(list(share.parts(0, None)), first(150, 160))


def test_wrong_rows_of_arrays_are_told_by_their_place(monkeypatch) -> None:
    small(monkeypatch, 30, 90)
    bad = X.copy()
    bad[67, 1] = np.nan
    with pytest.raises(ValueError, match="X from row 60 on holds nan at row 7, column 1"):
        list(Arrays(bad, Y, None, FORM, None).parts(0, None))
    with pytest.raises(ValueError, match="y has 7 rows, but X has 1000"):
        Arrays(X, Y[:7], None, FORM, None)
    with pytest.raises(ValueError, match=r"X must have two dimensions"):
        Arrays(X[0], Y, None, FORM, None)


# Parquet --------------------------------------------------------------------------------------------------------------


def table(begin: int = 0, end: int = 1000, **more: Any) -> pa.Table:
    return pa.table({"a": X[begin:end, 0], "b": X[begin:end, 1], "y": Y[begin:end], "c": X[begin:end, 2], **more})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rows"
    (path / "more").mkdir(parents=True)
    parquet.write_table(table(0, 250), path / "a.parquet", row_group_size=100)
    parquet.write_table(table(250, 700), path / "b.parquet", row_group_size=70)
    parquet.write_table(table(700, 1000), path / "more" / "c.pq")
    (path / "_SUCCESS").touch()
    (path / "_old.parquet").write_bytes(b"no table")
    return path


def of(path: Any, y: Any = "y", weights: Any = None, n_inputs: int | None = None, form: Form = FORM) -> Parquet:
    return Parquet.of(path, y, weights, form, n_inputs)


def test_a_folder_is_read_in_the_order_of_its_names(folder: Path, monkeypatch) -> None:
    found = of(folder)
    expected = first(0, 1000)
    assert (found.rows, found.n_inputs) == (1000, 3)
    alike(list(found.parts(0, None)), expected)
    small(monkeypatch, 33, 99)
    alike(list(found.parts(0, None)), expected)
    alike([found.first()], first(0, 33))
    mixed = np.concatenate([part.y for part in found.parts(3, 5)]).astype(int)
    assert sorted(mixed) == [*range(1000)]
    assert mixed.tolist() != [*range(1000)]


SHARED: Any = None


@given(st.integers(0, 999), st.integers(1, 1000))
@settings(max_examples=30, deadline=None)
def test_shares_of_parquet_cut_row_groups(begin: int, n: int) -> None:
    assert SHARED is not None
    share = SHARED.share(begin, min(begin + n, 1000))
    alike(list(share.parts(0, None)), first(begin, begin + n))


@pytest.fixture(autouse=True, scope="module")
def _shared(tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("shared") / "t.parquet"
    parquet.write_table(table(), path, row_group_size=130)
    globals()["SHARED"] = of(path)


def test_types_weights_several_targets_and_the_index_of_pandas(tmp_path: Path) -> None:
    frame = table(w=np.arange(1000) % 3, i=np.arange(1000), t=np.arange(1000) % 2 == 0).to_pandas().set_index("i")
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=300)
    found = of(tmp_path / "t.parquet", ["y", "c"], "w", form=Form(Loss("mse"), FLOAT, 2))
    (part,) = list(recut(found.parts(0, None), 2000))
    np.testing.assert_array_equal(part.X, np.column_stack([X[:, :2], np.arange(1000) % 2 == 0]))
    np.testing.assert_array_equal(part.targets, np.column_stack([Y, X[:, 2]]))
    np.testing.assert_array_equal(part.weights, np.arange(1000) % 3)


def write(path: Path, what: Any) -> Path:
    parquet.write_table(what, path / "t.parquet")
    return path / "t.parquet"


BAD = [
    (table(), "z", ValueError, "t.parquet has no column 'z'; it has 'a', 'b', 'y', 'c'"),
    (table(), "yy", ValueError, r"has no column 'yy' \(did you mean 'y'\?\)|has no column 'yy'; it has"),
    (table(), 3, TypeError, "y must be the name of a column of .*, or a list of names, got 3"),
    (table(), [], TypeError, "y must be the name of a column of"),
    (table(t=["x"] * 1000), "y", TypeError,
     "column 't' of .* holds string, and a network takes numbers: encode it first"),
    (table().slice(0, 0), "y", ValueError, "has columns but no rows"),
    (table().select(["y"]), "y", ValueError, "has no columns beside 'y'"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "y", "kind", "text"), BAD, ids=range(len(BAD)))
def test_parquet_that_can_not_be(what: Any, y: Any, kind: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=text):
        of(write(tmp_path, what), y)


def test_parquet_that_is_not_there_or_does_not_fit(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no .*none.parquet"):
        of(tmp_path / "none.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no Parquet file \(.parquet or .pq\) in .*empty"):
        of(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"has 3 columns beside those of y and sample_weight \(a, b, c\), but"):
        of(folder, n_inputs=4)
    with pytest.raises(TypeError, match=r"sample_weight must be the name of a column of .*, got 3"):
        of(folder, weights=3)
    with pytest.raises(StreamError, match="is not a whole Parquet file"):
        of(folder / "_old.parquet")
    parquet.write_table(table().drop_columns("b"), folder / "d.parquet")
    with pytest.raises(ValueError, match=r"d.parquet has no column 'b', which the files before it have"):
        of(folder)
    (tmp_path / "t.csv").write_text("a,b,c,y\n1,2,3,4\n")
    with pytest.raises(StreamError, match=r"t.csv is no Parquet file, and of a path fit takes those .*`cnn train`"):
        of(tmp_path / "t.csv")


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    """Rows of the table of a column `a`, the others being in the names of folders, or not there."""
    for i, (year, town) in enumerate([(2020, "x"), (2021, "x"), (2021, "a%20b")]):
        path = tmp_path / "hive" / f"year={year}" / f"town={town}"
        path.mkdir(parents=True)
        parquet.write_table(pa.table({"a": X[i * 40 : i * 40 + 40, 0], "y": Y[:40]}), path / "part-0.parquet")
    return tmp_path / "hive"


def test_columns_may_stand_in_the_names_of_folders(hive: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"column 'town' of .*part-0.parquet holds string, and a network takes numbers"):
        of(hive)
    for path in hive.rglob("town=*"):
        path.rename(path.with_name(path.name.replace("town=x", "town=7").replace("town=a%20b", "town=8")))
    found = of(hive)
    assert found._columns.names == ["a", "year", "town", "y"]
    read = np.concatenate([part.X for part in found.parts(0, None)])
    np.testing.assert_array_equal(read[:, 0], X[:120, 0])
    np.testing.assert_array_equal(read[:, 1], [2020] * 40 + [2021] * 80)
    np.testing.assert_array_equal(read[:, 2], [7] * 80 + [8] * 40)
    np.testing.assert_array_equal(np.concatenate([part.y for part in of(hive, "year").parts(0, None)]), read[:, 1])
    two = of(hive, ["a", "town"], form=Form(Loss("mse"), FLOAT, 2)).first()
    np.testing.assert_array_equal(two.y[:, 1], [7] * 40)
    before = found.description()
    assert of(hive).description() == before
    (hive / "year=2020").rename(hive / "year=2019")  # a checkpoint is of other rows
    assert of(hive).description() != before
    (hive / "year=2019" / "town=7").rename(hive / "year=2019" / "town=__HIVE_DEFAULT_PARTITION__")
    with pytest.raises(ValueError, match=r"column 'town' of X of part-0.parquet from row 0 on is empty at row"):
        of(hive).first()
    parquet.write_table(pa.table({"a": X[:, 0], "y": Y}), hive / "part-0.parquet")
    with pytest.raises(ValueError, match=r"part-0.parquet has no column 'year' in the names of its folders, as"):
        of(hive)


def test_files_may_have_the_columns_of_their_folders_too(tmp_path: Path) -> None:
    """As Polars writes them; but then both must say the same."""
    (tmp_path / "year=2020").mkdir()
    file = tmp_path / "year=2020" / "a.parquet"
    parquet.write_table(pa.table({"year": [2020, 2020], "y": [3.0, 4.0]}), file)
    np.testing.assert_array_equal(of(tmp_path).first().X, [[2020], [2020]])
    said = r"a.parquet has a column 'year' that holds other values than the one in the names of its folders, 2020"
    for years, options in (([2020, 2021], {}), ([2020, None], {}), ([2020, 2020], {"write_statistics": False})):
        parquet.write_table(pa.table({"year": years, "y": [3.0, 4.0]}), file, **options)
        with pytest.raises(ValueError, match=said):
            of(tmp_path)
    (tmp_path / "year=2020").rename(tmp_path / "year=__HIVE_DEFAULT_PARTITION__")
    with pytest.raises(ValueError, match="has a column 'year' that holds other values"):
        of(tmp_path)
    file = tmp_path / "year=__HIVE_DEFAULT_PARTITION__" / "a.parquet"
    parquet.write_table(pa.table({"year": pa.array([None, None], pa.int64()), "y": [3.0, 4.0]}), file)
    with pytest.raises(ValueError, match=r"column 'year' of X of a.parquet from row 0 on is empty at row"):
        of(tmp_path).first()


def test_gaps_and_what_is_not_finite_are_told_by_file_row_and_column(tmp_path: Path, monkeypatch) -> None:
    small(monkeypatch, 100, 300)
    bad = X[:, 1].copy()
    bad[345] = np.nan
    path = write(tmp_path, table().set_column(1, "b", pa.array(bad)))
    with pytest.raises(ValueError, match=r"X of t.parquet from row 300 on holds nan at row 45, column 'b'"):
        list(of(path).parts(0, None))
    gaps = write(tmp_path, table().set_column(1, "b", pa.array(bad, from_pandas=True)))
    with pytest.raises(ValueError, match=r"column 'b' of X of t.parquet from row 300 on is empty at row 45"):
        list(of(gaps).parts(0, None))


def test_a_file_that_changes_is_told(folder: Path) -> None:
    found = of(folder)
    parts = found.parts(0, None)
    next(parts)
    parquet.write_table(table(0, 250), folder / "b.parquet")
    with pytest.raises(StreamError, match=r"b.parquet has changed since the fit began"):
        list(parts)
    (folder / "b.parquet").unlink()
    with pytest.raises(StreamError, match=r"b.parquet is no longer there"):
        list(found.parts(0, None))


def test_a_file_that_changes_while_it_is_read_is_told(folder: Path) -> None:
    found = of(folder)
    parts = found.parts(0, None)
    next(parts)
    with (folder / "a.parquet").open("ab") as file:
        file.write(b"more")
    with pytest.raises(StreamError, match=r"a.parquet has changed since the fit began"):
        list(parts)


def test_a_broken_row_group_is_told(folder: Path) -> None:
    content = bytearray((folder / "a.parquet").read_bytes())
    content[4:1000] = b"\xff" * 996
    (folder / "a.parquet").write_bytes(content)
    with pytest.raises(StreamError, match=r"row group \d of .*a.parquet can't be read: "):
        list(of(folder).parts(0, None))


def test_what_is_missing_is_named(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"Parquet files need pyarrow \(extra 'arrow'\): pip install pyarrow"):
        of(folder)


def test_descriptions_tell_sources_apart(folder: Path, mapped: tuple[Any, Any]) -> None:
    found = [
        of(folder).description(), of(folder, ["c"]).description(), of(folder / "a.parquet").description(),
        of(folder).share(0, 500).description(), Arrays(*mapped, None, FORM, None).description(),
        Arrays(mapped[0], -Y, None, FORM, None).description(), Batches([(X[:4], Y[:4])], FORM, None).description(),
    ]  # fmt: skip
    assert len(set(found)) == len(found)
    assert of(folder).description() == found[0]
    assert Arrays(X, Y, None, FORM, None).description() == found[4]


def test_pandas_is_there_before_arrow_imports_it(tmp_path: Path) -> None:
    """Arrow imports it at the first conversion, and a Ctrl-C that comes in there would be lost."""
    pytest.importorskip("pandas")
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"x": [1.0], "y": [2.0]}), path)
    code = (
        "import sys; from cnn.streams import parquet; from pathlib import Path; before = 'pandas' in sys.modules; "
        f"parquet.files(Path({str(path)!r})); print(before, 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True).stdout == "False True\n"
