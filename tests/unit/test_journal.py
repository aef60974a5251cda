from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.errors import DataError
from mm.strategy.journal import Journal, frame, read_journal

RECORDS = [{"t": "place", "id": n, "note": "ü" * n} for n in range(5)]


def written(path: Path) -> bytes:
    journal = Journal(path)
    for record in RECORDS:
        journal.append(record)
    journal.sync()
    journal.close()
    return path.read_bytes()


def test_what_was_appended_is_read(tmp_path):
    path = tmp_path / "deep" / "j.jsonl"
    written(path)
    assert list(read_journal(path)) == RECORDS
    assert list(read_journal(tmp_path / "none.jsonl")) == []
    assert path.stat().st_mode & 0o077 == 0


@given(cut=st.integers(0, 400))
def test_a_torn_tail_costs_only_the_last_record(cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    data = written(path)
    keep = data[: max(0, len(data) - cut)]
    path.write_bytes(keep)
    whole = keep.count(b"\n")
    assert list(read_journal(path)) == RECORDS[:whole]
    journal = Journal(path)  # the next process goes on behind the last whole record
    journal.append({"t": "new"})
    journal.close()
    assert list(read_journal(path)) == [*RECORDS[:whole], {"t": "new"}]


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_damaged_record_is_ever_read(at, flip, tmp_path_factory):
    path = tmp_path_factory.mktemp("j") / "j.jsonl"
    data = bytearray(written(path))
    data[at % len(data)] ^= flip
    path.write_bytes(bytes(data))
    found = []
    with contextlib.suppress(DataError):
        found += read_journal(path)
    assert found == RECORDS[: len(found)]
    if len(found) < len(RECORDS) - 1:
        with pytest.raises(DataError, match=r"j\.jsonl:\d"):
            list(read_journal(path))


def test_damage_in_the_middle_names_the_line(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(frame({"a": 1}) + b"deadbeef {}\n" + frame({"a": 2}))
    with pytest.raises(DataError, match=r"j\.jsonl:2"):
        list(read_journal(path))


def test_several_records_are_one_write(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append_all({"n": n} for n in range(3))
    assert journal.records == 3
    assert [r["n"] for r in read_journal(journal.path)] == [0, 1, 2]
    journal.close()
    journal.close()


def test_a_record_survives_kill_9(tmp_path):
    path = tmp_path / "j.jsonl"
    code = (
        "import os, signal, sys\n"
        "from mm.strategy.journal import Journal\n"
        f"j = Journal({str(path)!r})\n"
        "j.append({'t': 'place', 'id': 7})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == -signal.SIGKILL
    assert list(read_journal(path)) == [{"t": "place", "id": 7}]


def test_a_full_disk_is_an_error(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._fd)
    os.close(full)
    with pytest.raises(OSError, match=r"."):
        journal.append({"t": "place"})
