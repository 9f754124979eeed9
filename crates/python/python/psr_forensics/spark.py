"""The same engine on Spark 4: a data source for event logs, and :func:`analyze` over a cluster.

The wheel must be installed on every executor. Logs and output must be on a shared file system, with the same path
on every executor. This module uses only Spark's scheduler and shuffle, and that file system.

>>> psr_forensics.spark.register(spark)
>>> spark.read.format("evtx").load("logs").groupBy("channel", "event_id").count()
>>> psr_forensics.spark.analyze(spark, "logs", [], "case-0117").sessions.show()
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from . import TABLES, Error, Observations, Paths, PathLike, Results, _how, _native, _paths, packs as _packs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["EvtxDataSource", "FleetResults", "analyze", "register"]

#: Bytes of a log that one task of the data source reads, in chunks of 64 KiB.
_CHUNKS = (64 << 20) // (64 << 10)
#: Bytes of logs that one task of `analyze` extracts. A smaller task costs more to start than to run.
_TASK_BYTES = 64 << 20

_FAULTS = pa.schema(
    [
        ("input_file", pa.string()),
        ("kind", pa.string()),
        ("chunk", pa.int64()),
        ("offset", pa.int64()),
        ("record", pa.decimal128(20, 0)),
        ("reason", pa.string()),
    ]
)


def _type(of: pa.DataType) -> pa.DataType:
    """Returns the Spark type for an Arrow type of our tables."""
    if pa.types.is_timestamp(of):
        return pa.timestamp("us", of.tz)
    if of == pa.uint64():
        # The type that Spark reads from Parquet. A hostile record may hold any number.
        return pa.decimal128(20, 0)
    if of == pa.uint32():
        return pa.int64()
    if pa.types.is_large_string(of):
        return pa.string()
    if pa.types.is_large_list(of):
        return pa.list_(_type(of.value_type))
    return of


def _schema(of: pa.Schema) -> pa.Schema:
    """Returns the Spark columns of a table. A time has microseconds; `NAME_nanos` beside it holds the full time,
    in nanoseconds since 1970."""
    fields = []
    for field in of:
        fields.append(pa.field(field.name, _type(field.type)))
        if pa.types.is_timestamp(field.type):
            fields.append(pa.field(f"{field.name}_nanos", pa.int64()))
    return pa.schema(fields)


def _batches(table: object, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Converts the batches of one of our tables for Spark."""
    for batch in pa.RecordBatchReader.from_stream(table):
        columns = []
        for column in batch.columns:
            if pa.types.is_timestamp(column.type):
                whole = pc.floor_temporal(column, unit="microsecond")
                columns.append(whole.cast(_type(column.type)))
                columns.append(column.cast(pa.int64()))
            else:
                columns.append(column.cast(_type(column.type)))
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _schema_of(table: Any) -> pa.Schema:
    return _schema(pa.RecordBatchReader.from_stream(table).schema)


class EvtxDataSource(DataSource):
    """``spark.read.format("evtx").load(paths)``: all records of EVTX logs, with the columns of observations.

    A relative path starts at the folder in which the session was started. Many tasks read a large log; each task
    reads some of its chunks. Faults of the logs are rows, too: ``.option("table", "faults")``.
    """

    @classmethod
    def name(cls) -> str:
        return "evtx"

    def _faults(self) -> bool:
        table = self.options.get("table", "records")
        if table not in ("records", "faults"):
            raise Error(f"'{table}' is no table of evtx: records and faults are")
        return table == "faults"

    def schema(self) -> StructType:
        records = pa.schema([]) if self._faults() else _records()
        return from_arrow_schema(_FAULTS if self._faults() else records)

    def reader(self, schema: StructType) -> DataSourceReader:
        paths = json.loads(self.options.get("paths", "[]"))
        if "path" in self.options:
            paths.append(self.options["path"])
        return _EvtxReader(paths, self._faults(), int(self.options.get("chunks", _CHUNKS)))


def _records() -> pa.Schema:
    """The columns of records."""
    return _schema_of(_native.observations([]))


@dataclass
class _Range(InputPartition):
    """A range of chunks of a log. A relative path starts at ``folder``."""

    folder: str
    path: str
    first: int
    end: int


class _EvtxReader(DataSourceReader):
    def __init__(self, paths: List[str], faults: bool, chunks: int) -> None:
        self.paths = paths
        self.faults = faults
        self.chunks = max(chunks, 1)

    def partitions(self) -> List[InputPartition]:
        found: List[InputPartition] = []
        for file in json.loads(_native.files(self.paths)):
            if file["path"] is None:
                raise Error(f"{file['shown']}: a name that is no text: rename it")
            ends = range(0, file["chunks"], self.chunks)
            found.extend(
                _Range(os.getcwd(), file["path"], first, min(first + self.chunks, file["chunks"])) for first in ends
            )
            if not ends and self.faults:
                found.append(_Range(os.getcwd(), file["path"], 0, 0))
        return found

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        if not isinstance(partition, _Range):
            # Without any file Spark passes one empty partition.
            return
        path, first, end = os.path.join(partition.folder, partition.path), partition.first, partition.end
        if not self.faults:
            schema = _records()
            at = schema.get_field_index("input_file")
            for batch in _batches(_native.chunks(path, first, end), schema):
                columns = batch.columns
                columns[at] = pa.array([partition.path] * batch.num_rows, pa.string())
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
            return
        rows = json.loads(_native.chunk_faults(path, first, end))
        rows = [{"input_file": partition.path, **row} for row in rows]
        yield pa.RecordBatch.from_pylist(rows, schema=_FAULTS)


def register(spark: SparkSession) -> None:
    """Registers the format ``evtx`` in a session."""
    spark.dataSource.register(EvtxDataSource)


class FleetResults:
    """The results of :func:`analyze`: each table as a DataFrame, and the folder as :attr:`results`."""

    timeline: DataFrame
    sessions: DataFrame
    commands: DataFrame
    layers: DataFrame
    attempts: DataFrame
    hosts: DataFrame
    coverage: DataFrame
    integrity: DataFrame
    detections: DataFrame
    findings: DataFrame

    def __init__(self, spark: SparkSession, folder: PathLike, ledger: List[Dict[str, Any]]) -> None:
        self._spark = spark
        #: The folder of results: Parquet, as ``analyze --format parquet`` writes it.
        self.results = Results(folder)
        #: A row for each input of each task, in the order of paths.
        self.ledger = ledger

    def __getattr__(self, name: str) -> DataFrame:
        if name not in TABLES:
            raise AttributeError(name)
        return self.table(name)

    def table(self, name: str) -> DataFrame:
        """A table as a DataFrame."""
        # Spark's own Parquet reader does not support nanosecond timestamps.
        folder = self.results.folder
        schema = _schema_of(self.results.table(name))

        def read(_: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            return _batches(Results(folder).table(name), schema)

        return self._spark.range(0, 1, 1, 1).mapInArrow(read, from_arrow_schema(schema))


def analyze(
    spark: SparkSession,
    paths: Paths,
    packs: Paths,
    output: PathLike,
    *,
    default_pack: bool = True,
    recover: bool = False,
    force: bool = False,
    task_bytes: int = _TASK_BYTES,
    threads: int = 0,
) -> FleetResults:
    """Rebuilds sessions, commands and detections from logs: the same rows as ``psr_forensics.analyze`` gives.

    Executors extract the logs into case folders below ``output/cases``. Each task extracts whole files. A task that
    is killed or runs twice leaves one case folder, because a folder gets its name when it is complete. A case folder
    of the same files and packs from an earlier job is used again.

    **Then one task rebuilds sessions from all case folders**, on ``threads`` cores of its executor (0: all it sees).
    All observations of the fleet, a few hundredths of the size of its logs, go through one machine. Its memory limits
    the size of the fleet; see docs/fleets.md. Hosts are not processed separately and joined later: a session is
    rebuilt from the logs of both ends, their domain controllers and clocks, and only one run over all of them gives
    the same rows.
    """
    root = Path(os.path.abspath(output))
    results = root / "results"
    if results.exists() and not force:
        raise Error(f"{results} exists already: name another folder, or replace it with force")
    cases = root / "cases"
    cases.mkdir(parents=True, exist_ok=True)
    how = _how(packs, default_pack, 1, recover)
    # The folder at which relative paths start, if there are any.
    given = [*_paths(paths), *_paths(packs)]
    folder = None if all(map(os.path.isabs, given)) else os.getcwd()
    rules = [pack.sha256 for pack in _packs(packs, default_pack=default_pack)]
    groups = _groups(paths, task_bytes)
    if not groups:
        raise Error("no event log to read: there is no file")

    def extract(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            with _in(folder):
                made = [_extract(groups[number], cases, how, rules) for number in batch.column(0).to_pylist()]
            yield from made

    entries = spark.range(0, len(groups), 1, len(groups)).mapInArrow(extract, "name string, entry string")
    entries = entries.collect()
    folders = [cases / name for name in sorted({entry.name for entry in entries})]
    ledger = [json.loads(entry.entry) for entry in entries]
    ledger.sort(key=lambda row: (row["kind"] == "recovered", row["path"]))

    made = root / f".results-{uuid.uuid4().hex}"

    def correlate(_: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with _in(folder):
            done = _correlate(folders, made, results, {**how, "threads": threads})
        yield done

    try:
        spark.range(0, 1, 1, 1).mapInArrow(correlate, "name string").collect()
        if results.exists():
            shutil.rmtree(results)
        made.rename(results)
    finally:
        for left in [*cases.glob(".*"), *root.glob(".results-*")]:
            shutil.rmtree(left, ignore_errors=True)
    return FleetResults(spark, results, ledger)


@contextmanager
def _in(folder: Optional[str]) -> Iterator[None]:
    """Changes the working folder of a worker, if ``folder`` is given."""
    if folder is None:
        yield
        return
    before = os.getcwd()
    try:
        os.chdir(folder)
    except OSError as error:
        raise Error(f"{folder} is no folder on an executor, so give absolute paths: {error}") from error
    try:
        yield
    finally:
        os.chdir(before)


#: A file's path, size and modification time. The last two show whether it changed.
_File = Tuple[str, int, int]


def _groups(paths: Paths, most: int) -> List[List[_File]]:
    """The files of each task, in the order of paths."""
    groups: List[List[_File]] = []
    size = most
    for file in json.loads(_native.files(_paths(paths))):
        if file["path"] is None:
            raise Error(f"{file['shown']}: a name that is no text: rename it")
        if size >= most:
            groups.append([])
            size = 0
        size += file["size"]
        try:
            modified = os.stat(file["path"]).st_mtime_ns
        except OSError:
            modified = 0
        groups[-1].append((file["path"], file["size"], modified))
    return groups


def _extract(files: List[_File], cases: Path, how: Dict[str, Any], rules: List[str]) -> pa.RecordBatch:
    """A task: extracts files to a case folder of their own, and returns the folder's name and its ledger."""
    identity = json.dumps([files, how["recover"], rules, _native.VERSION])
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]

    def make(folder: Path) -> None:
        _native.extract([path for path, _, _ in files], folder, how, True)

    case = _once(cases / name, make)
    entries = [json.dumps(row) for row in Observations(case).ledger]
    return pa.RecordBatch.from_pydict({"name": [name] * len(entries), "entry": entries})


def _correlate(cases: List[Path], made: Path, shown: Path, how: Dict[str, Any]) -> pa.RecordBatch:
    """The last task: rebuilds sessions from all case folders."""
    packs = [argument for pack in how["packs"] for argument in ("--pack", os.fspath(pack))]
    built_in = [] if how["default_pack"] else ["--no-default-pack"]
    arguments = ["correlate", *map(str, cases), *packs, *built_in, "--format", "parquet", "-o", str(shown)]

    def make(folder: Path) -> None:
        where = {"output": folder, "force": False, "formats": ["parquet"], "arguments": arguments}
        _native.correlate(cases, how, where)

    return pa.RecordBatch.from_pydict({"name": [str(_once(made, make))]})


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Makes a folder, which gets its name when it is complete. Of simultaneous attempts the first one is kept: both
    give the same content."""
    if folder.exists():
        return folder
    attempt = Path(tempfile.mkdtemp(prefix=f".{folder.name.lstrip('.')}-{os.getpid()}-", dir=folder.parent))
    try:
        make(attempt)
        try:
            attempt.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(attempt, ignore_errors=True)
    return folder
