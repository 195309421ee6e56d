"""Files are written whole or not at all, whoever else writes them, and however the writer ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest
from helpers import run

import cnn
from cnn.files import atomic


def fails(monkeypatch: pytest.MonkeyPatch, where: str, code: int) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(where, refuse)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EINTR])
@pytest.mark.parametrize("where", ["os.open", "os.fdopen", "os.fchmod", "os.fsync", "os.replace", "os.listdir"])
@pytest.mark.skipif(os.name == "nt", reason="other calls there")
def test_a_failed_save_leaves_the_old_file(where: str, code: int, tmp_path, monkeypatch) -> None:
    """tools/fail_system_calls.py does it for every system call of a save."""
    path, net = tmp_path / "m.cnn", cnn.Network([cnn.Dense(2)], seed=0).build(3)
    net.save(path)
    before = path.read_bytes()
    net.layers[0].weights[...] = 7
    with monkeypatch.context() as patch:
        fails(patch, where, code)
        with pytest.raises(OSError, match=r"nothing half-written is left.*m\.cnn") as caught:
            net.save(path)
    assert caught.value.errno == code
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.cnn"]


def test_a_full_disk_in_the_middle(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    del resource
    assert run(f"""
        import os, resource, signal, cnn
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        net = cnn.Network([cnn.Dense(100)], seed=0).build(1000)
        net.save({str(tmp_path / "m.cnn")!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            net.save({str(tmp_path / "m.cnn")!r})
        except OSError as error:
            print(type(error).__name__, os.listdir({str(tmp_path)!r}))
    """) == "OSError ['m.cnn']"
    cnn.load(tmp_path / "m.cnn")


@pytest.fixture(params=["no name", "a name"])
def temporary(request, monkeypatch) -> str:
    """How files look until they are whole: on Linux they have no name."""
    if request.param == "a name":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return request.param if hasattr(os, "O_TMPFILE") else "a name"


def test_permissions_links_and_litter(temporary: str, tmp_path) -> None:
    path = tmp_path / "m.cnn"
    net = cnn.Network([cnn.Dense(2)], seed=0).build(3)
    net.save(path)
    if os.name != "nt":
        mask = os.umask(0)
        os.umask(mask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask
        path.chmod(0o640)
        (tmp_path / "link.cnn").symlink_to(path)
        net.save(tmp_path / "link.cnn")
        assert (tmp_path / "link.cnn").is_symlink()
        assert path.stat().st_mode & 0o777 == 0o640
        (tmp_path / "link.cnn").unlink()
    (tmp_path / ".m.cnn.0123456789abcdef.tmp").write_bytes(b"what a killed writer left")
    (tmp_path / ".m.cnn.mine.tmp").write_bytes(b"not ours")
    with atomic.replacing(path) as file:  # another writer, at work
        file.write(b"x")
        net.save(path)
        assert len(list(tmp_path.iterdir())) == (3 if temporary == "a name" else 2)
        file.write(path.read_bytes()[1:])
        file.seek(0)
        file.write(path.read_bytes())
    assert sorted(p.name for p in tmp_path.iterdir()) == [".m.cnn.mine.tmp", "m.cnn"]
    cnn.load(path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        net.save(tmp_path / "none" / "m.cnn")
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="has no such permissions")
def test_nobody_else_reads_a_file_while_it_is_replaced(temporary: str, tmp_path, monkeypatch) -> None:
    path, seen, real = tmp_path / "m.cnn", [], os.fchmod

    def seen_before(handle: int, mode: int) -> None:
        seen.append(os.fstat(handle).st_mode & 0o777)
        real(handle, mode)

    monkeypatch.setattr(os, "fchmod", seen_before)
    for mode in (0o600, 0o640, 0o444, 0o666):
        path.unlink(missing_ok=True)
        path.write_bytes(b"old")
        path.chmod(mode)
        seen.clear()
        with atomic.replacing(path) as file:
            seen.append(os.fstat(file.fileno()).st_mode & 0o777)
            file.write(b"new")
        assert len(seen) == 2
        assert all(found & ~mode == 0 for found in seen)
        assert seen[1] == path.stat().st_mode & 0o777 == mode


def test_writers_of_one_path_do_not_disturb_each_other(temporary: str, tmp_path) -> None:
    """tools/concurrent_saves.py does it with processes."""
    path, failed = tmp_path / "m.cnn", []
    contents = [bytes([i]) * 10_000 for i in range(4)]

    def write(content: bytes) -> None:
        for _ in range(50):
            try:
                atomic.write_whole(path, content)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["m.cnn"]


def test_the_lock_is_held_until_the_file_has_its_place(temporary: str, tmp_path, monkeypatch) -> None:
    """A sweep just before the file is renamed leaves it."""
    real = os.replace

    def swept(source: Any, target: Any) -> None:
        atomic.sweep(tmp_path, r"\.m\.cnn\.")
        real(source, target)

    monkeypatch.setattr(os, "replace", swept)
    atomic.write_whole(tmp_path / "m.cnn", b"all")
    assert (tmp_path / "m.cnn").read_bytes() == b"all"


def test_places_that_can_not_be_written_to(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    atomic.check_place(tmp_path / "file", "no")
    atomic.check_place(tmp_path / "new", "no")
    for path, text in [
        (tmp_path, "no: that is a folder; give the name of a file"), ("/dev/null", "no: that is no regular file"),
        (tmp_path / "file" / "m", "is a file, not a folder"), (tmp_path / "none" / "m", "there is no folder"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            atomic.check_place(path, "no")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match=r"no: the folder .* can't be written to"):
        atomic.check_place(tmp_path / "new", "no")


@pytest.mark.parametrize("letter", ["a", "ü", "数"])
def test_names_as_long_as_the_system_takes(letter: str, temporary: str, tmp_path) -> None:
    most = os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
    stem = letter * ((most - 5) // len(letter.encode()))
    one, other = tmp_path / f"{stem}1.cnn", tmp_path / f"{stem}2.cnn"
    with atomic.replacing(one) as file:
        file.write(b"one")
        with atomic.replacing(other) as beside:
            beside.write(b"other")
    assert (one.read_bytes(), other.read_bytes()) == (b"one", b"other")
    assert atomic._prefix(one) != atomic._prefix(other)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(OSError, match=r"nothing half-written|name too long"):
        atomic.write_whole(tmp_path / (stem + 10 * letter), b"longer than the system takes")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files have a name from the beginning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_nothing(number: int, tmp_path) -> None:
    program = textwrap.dedent(f"""
        import os, cnn.files.atomic
        with cnn.files.atomic.replacing({str(tmp_path / "m.cnn")!r}) as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.kill(os.getpid(), {int(number)})
    """)
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], check=False, timeout=60, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == -number
    assert list(tmp_path.iterdir()) == []
