"""Rows on disk, and what is made of them: table, hash, best."""

import pytest

from mm.errors import ConfigError
from tune import load
from tune.results import best_row, table_hash, to_frame, write_table
from tune.rows import FAILED, LOST, OK, RowWriter, read_rows, write_atomic


def row(index, status=OK, pnl=1.0, **more):
    return {
        "index": index,
        "config_hash": f"h{index}",
        "status": status,
        "error": None if status == OK else "boom",
        "seed": 10 + index,
        "params": {"strategy.model.kappa": f"{index}/bp", "strategy.model.gamma": {"q_max": index}},
        "metrics": {"pnl_usd": pnl, "fills": 3, "halted": None} if status == OK else {},
        "result_hash": f"r{index}" if status == OK else None,
        "sim_s": 0.1,
        "total_s": 0.2,
        "started_ns": 5,
        "worker": "w",
    } | more


def write(folder, *rows):
    writer = RowWriter(folder)
    for one in rows:
        writer.write(one)
    writer.close()


def test_rows_of_all_workers_come_back_in_order(tmp_path):
    write(tmp_path, row(3), row(0))
    write(tmp_path, row(2), row(1, FAILED))
    assert read_rows(tmp_path) == [row(0), row(1, FAILED), row(2), row(3)]


def test_a_line_cut_short_is_not_a_row(tmp_path):
    write(tmp_path, row(0), row(1))
    file = next(tmp_path.glob("*.jsonl"))
    for cut in (2, 3, 50):  # one byte less is only the end of the line
        file.write_bytes(file.read_bytes()[:-cut])
        assert read_rows(tmp_path) == [row(0)]


def test_a_configuration_counts_once_and_a_lost_one_gives_way(tmp_path):
    write(tmp_path, row(0, LOST), row(1))
    write(tmp_path, row(0), row(1, worker="other"))
    rows = read_rows(tmp_path)
    assert [r["index"] for r in rows] == [0, 1]
    assert rows[0]["status"] == OK


def test_no_rows_yet(tmp_path):
    assert read_rows(tmp_path) == []
    assert to_frame([]).empty


def test_the_hash_is_of_results_not_of_times_workers_or_order():
    rows = [row(0), row(1)]
    assert table_hash(rows) == table_hash([row(1, sim_s=9.0, worker="x", started_ns=1), row(0)])
    assert table_hash(rows) != table_hash([row(0), row(1, pnl=1.0000000001)])
    assert table_hash(rows) != table_hash([row(0), row(1, result_hash="other")])
    assert table_hash(rows) != table_hash(rows[:1])


def test_best_is_finite_and_of_equals_the_first():
    rows = [row(0, pnl=None), row(1, pnl=2.0), row(2, pnl=2.0), row(3, FAILED), row(4, pnl=-1.0)]
    assert best_row(rows, "pnl_usd", "max")["index"] == 1
    assert best_row(rows, "pnl_usd", "min")["index"] == 4
    assert best_row(rows, "halted", "max") is None


def test_the_table_has_axes_and_metrics_as_columns(tmp_path):
    (tmp_path / "rows").mkdir()
    write_atomic(tmp_path / "config.yaml", b"name: x\n")
    write(tmp_path / "rows", row(0), row(1, FAILED), row(2))
    write_table(tmp_path)
    import pandas as pd

    df = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(df["strategy.model.kappa"]) == ["0/bp", "1/bp", "2/bp"]
    assert list(df["strategy.model.gamma"]) == [f'{{"q_max": {i}}}' for i in range(3)]
    assert list(df["pnl_usd"].isna()) == [False, True, False]
    assert load(tmp_path).df.equals(to_frame(read_rows(tmp_path / "rows")))
    assert load(tmp_path.name, tmp_path.parent).name == tmp_path.name


def test_an_axis_of_mixed_values_is_text():
    rows = [row(0) | {"params": {"a": 1}}, row(1) | {"params": {"a": "2/bp"}}]
    assert list(to_frame(rows)["a"]) == ["1", "2/bp"]


def test_an_experiment_that_is_not_there_lists_what_is(tmp_path):
    with pytest.raises(ConfigError, match="holds none yet"):
        load("x", tmp_path)
    (tmp_path / "grid-1").mkdir()
    write_atomic(tmp_path / "grid-1" / "config.yaml", b"")
    with pytest.raises(ConfigError, match="latest: grid-1"):
        load("x", tmp_path)
    with pytest.raises(ConfigError, match="no snapshot yet"):
        _ = load("grid-1", tmp_path).result_grid


def test_writing_is_all_or_nothing(tmp_path):
    file = tmp_path / "f"
    write_atomic(file, b"one")
    write_atomic(file, b"two")
    assert file.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [file]
