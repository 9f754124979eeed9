"""The package: what it gives is what the program writes, and every library takes it."""

import filecmp
import signal
from pathlib import Path

import duckdb
import pandas
import polars
import psr_forensics
import pyarrow
import pyarrow.parquet
import pytest


#: It loads, and its level is misspelt.
RULE = """
title: A client connects
lvel: low
logsource:
  product: windows
  service: winrm
detection:
  selection:
    EventID: 6
  condition: selection
"""


def tables(folder):
    return sorted((folder / "parquet").glob("*.parquet"))


def files(folder):
    """The files of a case, their contents by their names."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in found}


def test_observations_are_what_a_case_holds(tmp_path):
    found = psr_forensics.extract("samples", tmp_path / "case")
    table = pyarrow.table(found)
    assert table.num_rows == found.num_rows > 1000
    assert sum(row["observations"] for row in found.ledger) == table.num_rows
    # An independent reader, from the files themselves.
    parts = [pyarrow.parquet.ParquetFile(path).read() for path in sorted((tmp_path / "case").rglob("*.parquet"))]
    whole = pyarrow.concat_tables(parts)
    assert whole.num_rows == table.num_rows
    key = [("time", "ascending"), ("computer", "ascending"), ("channel", "ascending"), ("record_id", "ascending")]
    mine = table.drop_columns(["input_file"]).sort_by(key)
    assert mine.equals(whole.cast(mine.schema).sort_by(key))
    assert table.schema.field("time").type == pyarrow.timestamp("ns", tz="UTC")
    names = {row["path"] for row in found.ledger if row["records"]}
    assert set(table.column("input_file").to_pylist()) == names
    assert psr_forensics.extract("samples", tmp_path / "case").before == len(found.ledger)


def test_every_library_takes_the_stream(tmp_path):
    found = psr_forensics.extract("samples", tmp_path / "case")
    rows = found.num_rows
    assert polars.DataFrame(found).height == rows
    assert len(pandas.DataFrame.from_arrow(found)) == rows
    assert duckdb.sql("SELECT count(*) FROM found").fetchall() == [(rows,)]
    # More than once, and no more of it than is asked for.
    reader = pyarrow.RecordBatchReader.from_stream(found)
    assert reader.read_next_batch().num_rows > 0
    assert pyarrow.schema(found) == reader.schema


def test_results_are_what_the_program_writes(tmp_path, program):
    code, _, errors = program("analyze", "samples", "-q", "--format", "parquet", "-o", tmp_path / "program")
    assert code == 0, errors
    case = psr_forensics.extract("samples", tmp_path / "case")
    for results in [
        psr_forensics.correlate(case, tmp_path / "correlated"),
        psr_forensics.analyze("samples", tmp_path / "analyzed"),
    ]:
        written, expected = tables(results.folder), tables(tmp_path / "program")
        assert [path.name for path in written] == [path.name for path in expected]
        for mine, theirs in zip(written, expected):
            assert filecmp.cmp(mine, theirs, shallow=False), mine.name
            table = pyarrow.table(getattr(results, mine.stem))
            assert table.equals(pyarrow.parquet.read_table(theirs).cast(table.schema)), mine.name
        code, told, _ = program("verify", results.folder)
        assert code == 0, told


def test_results_without_a_folder_go_with_their_owner(tmp_path):
    results = psr_forensics.analyze("samples")
    folder = results.folder
    assert len(polars.DataFrame(results.sessions)) == 2
    assert folder.is_dir()
    del results
    assert not folder.exists()


def test_formats_and_packs(tmp_path):
    results = psr_forensics.analyze("samples", tmp_path / "out", formats=["csv"], default_pack=False)
    assert (tmp_path / "out" / "sessions.csv").is_file()
    assert pyarrow.table(results.detections).num_rows == 0
    with pytest.raises(psr_forensics.Error, match="'xlsx' is not a format"):
        psr_forensics.analyze("samples", formats=["xlsx"])
    (built_in,) = psr_forensics.packs()
    assert len(built_in.rules) > 50 and not built_in.refused
    rule = tmp_path / "rule.yml"
    rule.write_text(RULE)
    remarks = psr_forensics.check_packs(rule)
    # What is told is the level that it lacks, in the file's second line.
    assert any(remark.line == 2 and "level" in remark.what for remark in remarks), remarks


def test_errors_are_of_one_class_and_one_line(tmp_path, program):
    def fails(call, *args):
        with pytest.raises(psr_forensics.Error) as raised:
            call(*args)
        text = str(raised.value)
        assert text and "\n" not in text
        return text

    missing = fails(psr_forensics.analyze, "no-such-folder")
    _, _, errors = program("analyze", "no-such-folder", "-o", tmp_path / "never")
    assert missing in errors
    assert fails(psr_forensics.correlate, tmp_path).startswith(str(tmp_path))
    (tmp_path / "notes.txt").write_text("no log")
    assert "no event log to read" in fails(psr_forensics.extract, tmp_path / "notes.txt", tmp_path / "case")
    fails(psr_forensics.Results, tmp_path)
    fails(psr_forensics.Observations, tmp_path / "none")
    fails(psr_forensics.packs, ["no-such-pack"])
    results = psr_forensics.analyze("samples", tmp_path / "out")
    assert "exists already" in fails(psr_forensics.analyze, "samples", results.folder)


def test_damage_is_in_the_ledger(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    content = bytearray((Path("samples") / "SRV02" / "Security.evtx").read_bytes())
    content[4096 + 600 : 4096 + 700] = b"\xff" * 100
    (logs / "a.evtx").write_bytes(content)
    (logs / "empty.evtx").write_bytes(b"")
    ledger = psr_forensics.extract(logs, tmp_path / "case").ledger
    assert [bool(row["faults"]) for row in ledger] == [True, True]
    correlated = psr_forensics.correlate(tmp_path / "case").ledger
    assert [row["faults"] for row in correlated] == [row["faults"] for row in ledger]


def test_a_table_that_was_changed_is_an_error_of_the_stream(tmp_path):
    found = psr_forensics.extract("samples", tmp_path / "case")
    path = next((tmp_path / "case").rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Exception, match="not as it was written"):
        pyarrow.table(found)


def test_ctrl_c_ends_it(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for call in [
            lambda: psr_forensics.extract("samples", tmp_path / "case"),
            lambda: psr_forensics.analyze("samples", tmp_path / "out"),
        ]:
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            with pytest.raises(KeyboardInterrupt):
                call()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not (tmp_path / "out").exists()
    # The case goes on where it was.
    psr_forensics.extract("samples", tmp_path / "case")
    psr_forensics.extract("samples", tmp_path / "other")
    assert files(tmp_path / "case") == files(tmp_path / "other")


def test_decode_takes_layers_off():
    # "Get-Date" in UTF-16LE, as Base64.
    found = psr_forensics.decode("powershell -enc RwBlAHQALQBEAGEAdABlAA==")
    assert [(layer.text, layer.how) for layer in found.layers] == [("Get-Date", "encoded_command")]
    assert found.stopped is None and not found.binaries
    assert psr_forensics.decode("Get-Date").layers == []
