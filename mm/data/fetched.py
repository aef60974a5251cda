"""Files of fetched candles, trades and funding: appended row by row in order of time, continued where they end.

A CSV file is its own journal. Of a Parquet file the journal is a CSV beside it (``NAME.partial.csv``) until the fetch
is complete. ``NAME.meta.json`` says what is in it, so that nothing else is appended. Times are ms since the epoch; the
last column names the exchange of each row. `data import` reads candles from either.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from mm.errors import ConfigError, DataError

COLUMNS: Final = {
    "candles": ("timestamp", "open", "high", "low", "close", "volume", "exchange"),
    "trades": ("timestamp", "id", "side", "price", "amount", "exchange"),
    "funding": ("timestamp", "rate", "exchange"),
}
SHOWN: Final = 20  # gaps in a report
QUIET_MS: Final = 60_000  # trades: a longer silence is reported

Row = tuple[Any, ...]


def utc(ms: int) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


class FetchFile:
    """The rows fetched so far, and where they go on. ``what``: candles, trades or funding; ``step_ms``: of a candle."""

    def __init__(self, path: Path, what: str, symbol: str, step_ms: int) -> None:
        if path.suffix not in (".csv", ".parquet"):
            raise ConfigError(f"--out {path}: end the name in .csv or .parquet")
        self.path = path
        self.what = what
        self.step_ms = step_ms
        self.columns = COLUMNS[what]
        self._journal = path if path.suffix == ".csv" else path.with_name(f"{path.stem}.partial.csv")
        self._meta = path.with_name(f"{path.stem}.meta.json")
        self._about = {"what": what, "symbol": symbol, "step_ms": step_ms}
        self._refuse_other()
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.last_ids: set[str] = set()  # of the trades at the last time
        self.rows = 0
        self._open: IO[str] | None = None
        self._recover()

    # --- what is there -----------------------------------------------------------------------------------------------
    def _refuse_other(self) -> None:
        if self._meta.exists():
            try:
                before = json.loads(self._meta.read_text())
            except (OSError, ValueError) as exc:
                raise DataError(f"{self._meta}: unreadable ({exc})") from exc
            if before != self._about:
                raise ConfigError(f"{self.path} holds {before}, not {self._about}: give another --out")
            return
        if self.path.exists():
            raise ConfigError(
                f"{self.path} exists and was not fetched ({self._meta.name} is missing): refusing to touch it"
            )

    def _recover(self) -> None:
        """Find the end; a last line that a crash cut off is dropped."""
        if self._journal.exists():
            with self._journal.open("r+b") as file:
                size = _whole_lines(file)
                file.truncate(size)
        for row in self.read():
            self._see(row)

    def read(self) -> Iterator[Row]:
        """Every row so far as (time in ms, other columns as text); raises ``DataError`` for a damaged one."""
        source = self._journal if self._journal.exists() else self.path
        if not source.exists():
            return
        lines = _parquet_rows(source) if source.suffix == ".parquet" else _csv_rows(source)
        for number, cells in lines:
            try:
                if len(cells) != len(self.columns):
                    raise ValueError(f"{len(cells)} columns instead of {len(self.columns)}")  # noqa: TRY301
                yield (int(cells[0]), *cells[1:])
            except ValueError as exc:
                raise DataError(
                    f"{source}:{number}: not a row of fetched {self.what} ({exc}); move the file away"
                ) from exc

    def _see(self, row: Row) -> None:
        if self.what == "trades":
            self.last_ids = {*(self.last_ids if row[0] == self.last_ms else ()), str(row[1])}
        self.first_ms = row[0] if self.first_ms is None else self.first_ms
        self.last_ms = row[0]
        self.rows += 1

    # --- adding ------------------------------------------------------------------------------------------------------
    def next_ms(self, since_ms: int) -> int:
        """Where a request has to begin."""
        if self.last_ms is None:
            return since_ms
        if since_ms < (self.first_ms or 0) - self.step_ms:
            raise ConfigError(f"{self.path} begins {utc(self.first_ms or 0)}; give another --out for what is before it")
        return max(since_ms, self.last_ms + (self.step_ms or (0 if self.what == "trades" else 1)))

    def add(self, rows: Sequence[Row]) -> int:
        """Append the rows that are new, handed to the operating system before it returns; how many were new."""
        fresh = [r for r in rows if self._is_new(r)]
        if not fresh:
            return 0
        if self._open is None:
            self._open = self._begin()
        writer = csv.writer(self._open, lineterminator="\n")
        new = 0
        for row in fresh:
            if self._is_new(row):  # twice in one answer
                writer.writerow(row)
                self._see(row)
                new += 1
        self._open.flush()
        return new

    def _is_new(self, row: Row) -> bool:
        if self.last_ms is None or row[0] > self.last_ms:
            return True
        return self.what == "trades" and row[0] == self.last_ms and str(row[1]) not in self.last_ids

    def _begin(self) -> IO[str]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._meta.write_text(json.dumps(self._about) + "\n")
        except OSError as exc:
            raise ConfigError(f"--out {self.path}: cannot write there: {exc}") from exc
        fresh = not self._journal.exists()
        if fresh and self.path.exists():  # a complete Parquet file goes on
            temp = self._journal.with_suffix(".new")
            with temp.open("w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(self.columns)
                writer.writerows(self.read())
            temp.rename(self._journal)
            fresh = False
        out = self._journal.open("a", newline="")
        if fresh:
            csv.writer(out, lineterminator="\n").writerow(self.columns)
        return out

    def close(self) -> None:
        """What was fetched stays; ``finish`` completes it."""
        if self._open is not None:
            self._open.flush()
            os.fsync(self._open.fileno())
            self._open.close()
            self._open = None

    def finish(self) -> None:
        """Make the Parquet file of the journal, by parts, and put it in place."""
        self.close()
        if self.path.suffix != ".parquet" or not self._journal.exists():
            return
        import pyarrow as pa
        from pyarrow import csv as arrow
        from pyarrow import parquet

        kinds = {"timestamp": pa.int64(), "id": pa.string(), "side": pa.string(), "exchange": pa.string()}
        options = arrow.ConvertOptions(column_types={name: kinds.get(name, pa.float64()) for name in self.columns})
        temp = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with (
                arrow.open_csv(self._journal, convert_options=options) as rows,
                parquet.ParquetWriter(temp, rows.schema, compression="zstd") as out,
            ):
                for batch in rows:
                    out.write_batch(batch)
            temp.rename(self.path)
        except (OSError, pa.ArrowException) as exc:
            temp.unlink(missing_ok=True)
            raise DataError(f"{self.path}: cannot be written ({exc}); the rows are in {self._journal}") from exc
        self._journal.unlink()

    # --- the report --------------------------------------------------------------------------------------------------
    def continuity(self, since_ms: int, until_ms: int) -> dict[str, Any]:
        """Is anything missing between the two? Candles: by their step; funding: by the usual step; trades: silences."""
        step = self.step_ms or (QUIET_MS if self.what == "trades" else self._usual_step())
        late = step * (1 if self.step_ms else 1.5)
        gaps: list[str] = []
        missing = count = 0
        before = since_ms - (step if self.step_ms else 0)
        by: dict[str, int] = {}
        for row in self.read():
            by[row[-1]] = by.get(row[-1], 0) + 1
            if row[0] < since_ms:
                continue
            count, missing = _gap(gaps, before, row[0], step, late, count, missing)
            before = max(row[0], before)
        if self.last_ms is not None:
            count, missing = _gap(gaps, before, until_ms, step, late, count, missing)
        return {"rows": self.rows, "gaps": count, "missing": missing if self.what != "trades" else None,
                "first_gaps": gaps, "rows_by_exchange": by}  # fmt: skip

    def _usual_step(self) -> int:
        steps: dict[int, int] = {}
        last = None
        for row in self.read():
            if last is not None:
                minute = round((row[0] - last) / 60_000) * 60_000
                steps[minute] = steps.get(minute, 0) + 1
            last = row[0]
        return max(steps, key=lambda s: steps[s]) if steps else 28_800_000


def _gap(gaps: list[str], a: int, b: int, step: int, late: float, count: int, missing: int) -> tuple[int, int]:
    if b - a <= late:
        return count, missing
    if len(gaps) < SHOWN:
        gaps.append(f"{utc(a + step)} to {utc(b)}")
    return count + 1, missing + max(round((b - a) / step) - 1, 0)


def _whole_lines(file: IO[bytes]) -> int:
    """Bytes up to the end of the last complete line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - 65_536)
        file.seek(begin)
        at = file.read(end - begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(newline="") as file:
        for number, cells in enumerate(csv.reader(file), 1):
            if number > 1:
                yield number, cells


def _parquet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield number, [str(x) for x in cells]
    except (OSError, pa.ArrowException) as exc:
        raise DataError(f"{path}: damaged Parquet file ({exc}); move it away") from exc


def impossible(what: str, row: Row, step_ms: int) -> str:
    """Why a row cannot be, "" when it can: a source that says such things is not believed."""
    numbers = [x for x in row[1:-1] if isinstance(x, int | float)]
    if any(not math.isfinite(x) for x in numbers):
        return "a number that is none"
    if what == "candles":
        at, o, high, low, close, volume = row[:6]
        if at % step_ms and step_ms <= 86_400_000:
            return f"a candle at {utc(at)} which is no multiple of its length"
        if not (0 < low <= min(o, close) and high >= max(o, close) and volume >= 0):
            return f"a candle at {utc(at)} whose prices contradict each other"
    if what == "trades" and not (row[2] in ("buy", "sell") and row[3] > 0 and row[4] > 0):
        return f"a trade at {utc(row[0])} without side, price or size"
    return ""
