"""Spark: the rows of one process, whatever becomes of its workers. `PSR_FLEET` is a folder of a fleet's logs."""

import filecmp
import json
import os
import shutil
import signal
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import psr_forensics
import pyarrow
import pyarrow.parquet
import pytest

pyspark = pytest.importorskip("pyspark")
if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
    pytest.skip("Spark needs Java, and there is none", allow_module_level=True)

from psr_forensics import spark as fleet  # noqa: E402


@pytest.fixture(scope="module")
def spark():
    """Two executors, each a process of its own; a task may fail three times."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    made = (
        pyspark.sql.SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.executor.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    made.sparkContext.setLogLevel("OFF")
    fleet.register(made)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def logs():
    path = os.environ.get("PSR_FLEET")
    if not path:
        pytest.skip("PSR_FLEET names no folder of logs")
    return path


@pytest.fixture
def some_logs(logs, tmp_path):
    """Those of some hosts: each log is a task or more."""
    for host in sorted(path for path in Path(logs).iterdir() if path.is_dir())[:8]:
        shutil.copytree(host, tmp_path / "some" / host.name)
    return str(tmp_path / "some")


def same_tables(one, other):
    names = sorted(path.name for path in (one / "parquet").iterdir())
    assert names == sorted(path.name for path in (other / "parquet").iterdir())
    for name in names:
        assert filecmp.cmp(one / "parquet" / name, other / "parquet" / name, shallow=False), name
    assert filecmp.cmp(one / "sessions.jsonl", other / "sessions.jsonl", shallow=False)


def ledger(rows):
    keep = ["path", "kind", "size", "sha256", "records", "faults"]
    return [{name: row[name] for name in keep} for row in rows]


def test_a_fleet_gives_the_same_rows(spark, logs, program, tmp_path):
    assert program("analyze", logs, "-q", "--format", "parquet", "-o", tmp_path / "one")[0] == 0
    found = fleet.analyze(spark, logs, [], tmp_path / "spark", task_bytes=4 << 20)
    same_tables(tmp_path / "one", found.results.folder)
    # So do two steps without Spark.
    case = psr_forensics.extract(logs, tmp_path / "case")
    same_tables(tmp_path / "one", psr_forensics.correlate(case, tmp_path / "two").folder)
    # As DataFrames, too: row for row, and times to the microsecond with all of them beside.
    for name in ["sessions", "detections"]:
        expected = pyarrow.parquet.read_table(tmp_path / "one" / "parquet" / f"{name}.parquet").to_pylist()
        rows = getattr(found, name).collect()
        assert len(rows) == len(expected) > 100
        times = [field for field in rows[0].asDict() if f"{field}_nanos" in rows[0].asDict()]
        assert times
        for row, cells in zip(rows, expected):
            for column, cell in cells.items():
                if column in times:
                    assert row[f"{column}_nanos"] == (cell.value if cell is not None else None)
                elif isinstance(row[column], Decimal):
                    assert int(row[column]) == cell
                else:
                    assert row[column] == cell
    one = json.loads((tmp_path / "one" / "run.json").read_text())["inputs"]
    assert ledger(found.ledger) == ledger(one) == ledger(found.results.ledger)
    code, told, _ = program("verify", found.results.folder)
    assert code == 0, told
    # Nothing of an attempt is left, and a second job extracts nothing anew.
    assert not list((tmp_path / "spark").glob(".*")) and not list((tmp_path / "spark" / "cases").glob(".*"))
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "spark" / "cases").rglob("*.parquet")}
    with pytest.raises(psr_forensics.Error, match="exists already"):
        fleet.analyze(spark, logs, [], tmp_path / "spark", task_bytes=4 << 20)
    found = fleet.analyze(spark, logs, [], tmp_path / "spark", task_bytes=4 << 20, force=True)
    same_tables(tmp_path / "one", found.results.folder)
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "spark" / "cases").rglob("*.parquet")}
    assert again == made


def test_paths_are_as_seen_by_the_driver(spark, program, tmp_path):
    assert program("analyze", "samples", "-q", "--format", "parquet", "-o", tmp_path / "one")[0] == 0
    same_tables(tmp_path / "one", fleet.analyze(spark, "samples", [], tmp_path / "spark").results.folder)


def damaged(source, to):
    """A fleet with a chunk, a header and a whole file gone."""
    shutil.copytree(source, to)
    found = sorted(to.rglob("*.evtx"), key=lambda path: (-path.stat().st_size, path))
    content = bytearray(found[0].read_bytes())
    content[4096 + 512 : 4096 + 2048] = b"\xff" * 1536
    found[0].write_bytes(content)
    content = bytearray(found[1].read_bytes())
    content[:4096] = bytes(4096)
    found[1].write_bytes(content)
    found[2].write_bytes(b"")
    return to


def test_killed_workers_and_damaged_files_change_nothing(spark, logs, program, tmp_path):
    logs = damaged(logs, tmp_path / "logs")
    assert program("analyze", logs, "-q", "--format", "parquet", "-o", tmp_path / "one")[0] == 4
    killed = []
    done = threading.Event()

    def kill():
        """Kills the worker of the first attempt at a case, and that of the first at the results."""
        wanted = {"cases": tmp_path / "spark" / "cases", "results": tmp_path / "spark"}
        while wanted and not done.is_set():
            for what, folder in list(wanted.items()):
                names = os.listdir(folder) if folder.is_dir() else []
                # An attempt at a folder has its name, the worker's process id, and something of its own.
                for name in [name for name in names if name.startswith(".") and name.count("-") > 1][:1]:
                    os.kill(int(name.rsplit("-", 2)[1]), signal.SIGKILL)
                    killed.append((what, name))
                    del wanted[what]
            time.sleep(0.0005)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = fleet.analyze(spark, str(logs), [], tmp_path / "spark", task_bytes=4 << 20)
    finally:
        done.set()
        killer.join()
    assert [what for what, _ in killed] == ["cases", "results"], killed
    same_tables(tmp_path / "one", found.results.folder)
    one = json.loads((tmp_path / "one" / "run.json").read_text())["inputs"]
    assert ledger(found.ledger) == ledger(one) == ledger(found.results.ledger)
    assert sum(bool(row["faults"]) for row in found.ledger if row["kind"] != "unknown") >= 2
    assert not list((tmp_path / "spark").glob(".*")) and not list((tmp_path / "spark" / "cases").glob(".*"))


def test_the_data_source_has_every_record(spark, some_logs):
    records = spark.read.format("evtx").option("chunks", 3).load(some_logs)
    files = json.loads(psr_forensics._native.files([some_logs]))
    ranges = sum(-(-file["chunks"] // 3) for file in files)
    assert records.rdd.getNumPartitions() == ranges > len(files)
    by_file = {row.input_file: row["count"] for row in records.groupBy("input_file").count().collect()}
    expected = {row["path"]: row["records"] for row in psr_forensics.analyze(some_logs).ledger if row["records"]}
    assert by_file == expected
    # The same cells as in the timeline of what is in both.
    row = records.where("event_id = 4104").orderBy("input_file", "record_id").first()
    assert row.channel == "Microsoft-Windows-PowerShell/Operational" and "ScriptBlockText" in row.names
    assert records.where("unix_micros(time) != time_nanos div 1000").count() == 0
    two = spark.read.format("evtx").load(["samples/SRV02", "samples/WS01"])
    ledger = psr_forensics.analyze(["samples/SRV02", "samples/WS01"]).ledger
    assert two.count() == sum(row["records"] for row in ledger if row["kind"] == "evtx")


def test_the_data_source_tells_of_damage(spark, some_logs, tmp_path):
    logs = damaged(some_logs, tmp_path / "logs")
    read = spark.read.format("evtx").option("table", "faults").option("chunks", 3)
    rows = {(row.input_file, row.chunk, row.offset, row.reason) for row in read.load(str(logs)).collect()}
    ledger = psr_forensics.extract(str(logs), tmp_path / "case").ledger
    assert rows == {
        (row["path"], fault["chunk"], fault["offset"], fault["reason"]) for row in ledger for fault in row["faults"]
    }
    assert len(rows) >= 3


def test_a_mistake_is_one_error(spark, tmp_path):
    with pytest.raises(psr_forensics.Error, match="no such file or folder"):
        fleet.analyze(spark, "no-such-folder", [], tmp_path / "out")
    with pytest.raises(psr_forensics.Error, match="no-such-pack"):
        fleet.analyze(spark, "samples", ["no-such-pack"], tmp_path / "out")
    with pytest.raises(Exception, match="no event log to read"):
        fleet.analyze(spark, "detections/README.md", [], tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
    assert Path("samples").is_dir()
