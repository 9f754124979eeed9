"""Reads the results of a run in all formats with the tools that they are for.

    pip install timesketch-import-client six pandas pyarrow duckdb polars
    psr-forensics analyze samples -o out --format csv --format evtxecmd --format timesketch \
        --format ecs --format splunk --format parquet
    python tests/outputs/check.py psr-forensics out

The program's own schema says which files and columns there are; CSV files are read with Python's
own reader, and what the tools make of the other files is compared with that. Ends with 77 where a
package is missing.
"""

import csv
import datetime
import glob
import ipaddress
import json
import pathlib
import subprocess
import sys

try:
    import duckdb
    import pandas
    import polars
    import pyarrow.parquet
    from timesketch_import_client import importer
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

HERE = pathlib.Path(__file__).parent
csv.field_size_limit(1 << 30)

HEADER = (
    "RecordNumber,EventRecordId,TimeCreated,EventId,Level,Provider,Channel,ProcessId,ThreadId,"
    "Computer,ChunkNumber,UserId,MapDescription,UserName,RemoteHost,PayloadData1,PayloadData2,"
    "PayloadData3,PayloadData4,PayloadData5,PayloadData6,ExecutableInfo,HiddenRecord,SourceFile,"
    "Keywords,ExtraDataOffset,Payload"
)


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def lines(path):
    # Lines end in a line feed alone: JSON may hold other characters that Python splits at.
    with open(path, encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def nanoseconds(cell):
    """A time of a CSV file as nanoseconds since 1970."""
    whole, fraction = cell.split(".")
    at = datetime.datetime.strptime(whole + "+0000", "%Y-%m-%d %H:%M:%S%z")
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    seconds = (at - epoch) // datetime.timedelta(seconds=1)
    return seconds * 10**9 + int(fraction) * 100


# What a cell does not show as it is: DerivedCoreProperties.txt, what ends lines, what reorders text.
HIDES = [
    (0x80, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]
# Most pointers that a cell names.
NAMED = 100


def escaped(text):
    """A text as a cell of a CSV file shows it."""
    shown = ["'"] if text[:1] in tuple("=+-@\t\r＝＋－＠") else []
    for char in text.replace("\r\n", "\n"):
        code = ord(char)
        if char == "\n":
            shown.append("␊")
        elif char == "\t":
            shown.append(" ")
        elif code == 0x7F:
            shown.append("␡")
        elif code < 0x20:
            shown.append(chr(0x2400 + code))
        elif any(first <= code <= last for first, last in HIDES):
            shown.append(f"<U+{code:04X}>")
        else:
            shown.append(char)
    return "".join(shown)


def cell(value, name, kind):
    """The CSV cell of a value in Parquet."""
    if kind == "boolean":
        # `recovered` is a mark that most rows lack; `explained` is a question.
        return {None: "", True: "yes", False: "no" if name == "explained" else ""}[value]
    if value is None:
        return ""
    if kind == "texts":
        texts = list(value)
        if name in ("evidence", "copies") and len(texts) > NAMED:
            place = "" if name == "copies" else " in timeline.csv"
            texts = texts[:NAMED] + [f"and {len(texts) - NAMED} more{place}"]
        return escaped("; ".join(texts))
    if kind == "time":
        seconds, nanos = divmod(value, 10**9)
        at = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
        return f"{at:%Y-%m-%d %H:%M:%S}.{nanos // 100:07}"
    if kind == "number":
        return f"{value:.3f}"
    return escaped(str(value))


def agrees(shown, value, name, kind):
    """Whether a CSV cell shows a value of Parquet, as far as cells show it."""
    if kind == "time" and value is None:
        # 64 bits of nanoseconds reach from 1677 to 2262.
        return shown == "" or not -(2**63) <= nanoseconds(shown) < 2**63
    if "… (cut: " in shown:
        return True
    return cell(value, name, kind) == shown


def parquet(out, files):
    """DuckDB, pandas and polars read each table with its types; CSV shows the same values."""
    duck = {
        "time": "TIMESTAMP_NS", "integer": "UBIGINT", "number": "DOUBLE", "boolean": "BOOLEAN",
        "texts": "VARCHAR[]",
    }
    pola = {
        "time": polars.Datetime("ns", "UTC"), "integer": polars.UInt64, "number": polars.Float64,
        "boolean": polars.Boolean, "texts": polars.List(polars.String),
    }
    count = 0
    for file in files:
        stem = pathlib.Path(file["name"]).stem
        whole = out / file["name"]
        found = [whole] if whole.exists() else sorted((out / "parquet" / stem).glob("*.parquet"))
        assert found, f"{stem} has no file"
        want = rows(out / f"{stem}.csv")
        columns = {column["name"]: column["kind"] for column in file["columns"]}
        names = [str(path) for path in found]

        by_polars = polars.concat([polars.read_parquet(name) for name in names])
        assert dict(by_polars.schema) == {
            name: pola.get(kind, polars.String) for name, kind in columns.items()
        }, by_polars.schema
        read = by_polars.with_columns(
            polars.col(name).cast(polars.Int64) for name, kind in columns.items() if kind == "time"
        ).rows()
        assert len(read) == len(want), (stem, len(read), len(want))
        if len(found) == 1:
            for line, (row, values) in enumerate(zip(want, read), 2):
                for (name, kind), value in zip(columns.items(), values):
                    assert agrees(row[name], value, name, kind), (stem, line, name, row[name], value)
        assert not any(value == "" or value == [] for values in read for value in values), stem

        relation = duckdb.read_parquet(names)
        types = dict(zip(relation.columns, map(str, relation.types)))
        for name, kind in columns.items():
            want_type = duck.get(kind, "VARCHAR")
            assert types[name] == want_type or (
                kind == "time" and types[name].startswith("TIMESTAMP")
            ), (stem, name, types[name])
        assert len(relation) == len(want), stem
        for name, kind in columns.items():
            if kind == "texts":
                unnested = duckdb.sql(f'SELECT unnest("{name}") FROM read_parquet({names})')
                total = sum(len(value) for value in by_polars[name].to_list() if value)
                assert len(unnested) == total, (stem, name)

        frame = pandas.concat([pandas.read_parquet(name) for name in names])
        assert list(frame.columns) == list(columns), stem
        assert len(frame) == len(want), stem
        for name, kind in columns.items():
            dtype = str(frame[name].dtype)
            if kind == "time":
                assert dtype == "datetime64[ns, UTC]", (stem, name, dtype)
            elif kind == "integer" and frame[name].notna().all() and len(frame):
                assert dtype == "uint64", (stem, name, dtype)
            elif kind == "number":
                assert dtype == "float64", (stem, name, dtype)
        for name in names:
            meta = pyarrow.parquet.ParquetFile(name).metadata
            for group in range(meta.num_row_groups):
                for index in range(meta.num_columns):
                    column = meta.row_group(group).column(index)
                    assert column.compression == "ZSTD", (stem, column.path_in_schema, column.compression)
        count += len(want)
    print(f"parquet: {count} rows of {len(files)} tables, read by polars, DuckDB and pandas")


def evtxecmd(out):
    path = out / "evtxecmd.csv"
    with open(path, encoding="utf-8", newline="") as file:
        assert file.readline().rstrip("\r\n") == HEADER
    found = rows(path)
    timeline = rows(out / "timeline.csv")
    same = [
        ("RecordNumber", "record_number"), ("EventRecordId", "record_id"), ("TimeCreated", "time"),
        ("EventId", "event_id"), ("Provider", "provider"), ("Channel", "channel"),
        ("Computer", "host"), ("MapDescription", "kind"), ("UserName", "user"),
        ("PayloadData1", "summary"), ("SourceFile", "input_file"),
    ]
    assert len(found) == len(timeline)
    for row, event in zip(found, timeline):
        for column, known in same:
            assert row[column] == event[known], (column, row[column], event[known])
        json.loads(row["Payload"])
    safe(path, found)
    assert len(pandas.read_csv(path, dtype=str)) == len(found)
    assert len(duckdb.read_csv(str(path), all_varchar=True, max_line_size=1 << 26)) == len(found)
    print(f"evtxecmd: {len(found)} rows, the header as published")


def safe(path, found):
    """No cell is a formula, holds a control character or turns text around."""
    for row in found:
        for name, cell in row.items():
            assert not cell.startswith(("=", "+", "@", "\t", "\r")), (path.name, name, cell[:80])
            number = name in ("timestamp",)
            assert number or not cell.startswith("-"), (path.name, name, cell[:80])
            bad = [c for c in cell if c < " " or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066\ufeff"]
            assert not bad, (path.name, name, bad[:3])
            assert len(cell) <= 32767, (path.name, name, len(cell))


class Session:
    """Takes what the importer would send to a server, and answers as one that took it."""

    def __init__(self):
        self.events = []

    def post(self, _url, data=None, files=None, **_):
        self.events += [json.loads(line) for line in files["events"][1].split("\n") if line]

        class Answer:
            status_code = 200
            reason = text = ""

            @staticmethod
            def json():
                return {"objects": [{"id": 1, "searchindex": {"index_name": "x"}}], "meta": {}}

        return Answer()


def timesketch(out):
    """The official importer takes both files and sends what they hold."""
    want = len(rows(out / "timeline.csv")) + 2 * len(rows(out / "sessions.csv"))
    want += len(rows(out / "detections.csv"))
    sent = {}
    for name in ["timesketch.jsonl", "timesketch.csv"]:
        session = Session()
        with importer.ImportStreamer() as streamer:
            sketch = type("Sketch", (), {})()
            sketch.id = 1
            sketch.api = type("Api", (), {"session": session, "api_root": "http://none.invalid"})()
            sketch.resource_uri = "sketches/1"
            streamer.set_sketch(sketch)
            streamer.set_timeline_name("psr")
            streamer.add_file(str(out / name))
        assert len(session.events) == want, (name, len(session.events), want)
        for event in session.events:
            for field in ["message", "datetime", "timestamp_desc", "data_type"]:
                assert event[field], (name, field, event)
            datetime.datetime.fromisoformat(event["datetime"])
        sent[name] = session.events
    for one, other in zip(sent["timesketch.jsonl"], sent["timesketch.csv"]):
        moments = [datetime.datetime.fromisoformat(event["datetime"]) for event in (one, other)]
        moments = [
            at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc) for at in moments
        ]
        assert moments[0] == moments[1]
        micros = (moments[0] - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc))
        assert micros // datetime.timedelta(microseconds=1) == one["timestamp"]
        assert one["tag"] == json.loads(other["tag"])
        assert one["timestamp_desc"] == other["timestamp_desc"]
    safe(out / "timesketch.csv", rows(out / "timesketch.csv"))
    print(f"timesketch: the importer took {want} rows of each file")


def flat(value, path=""):
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        if isinstance(inner, dict) and here != "winlog.event_data":
            yield from flat(inner, here)
        else:
            yield here, inner


def fits(value, kind):
    """Whether a value is of a published type: TypeScript's, or Elasticsearch's for Winlogbeat."""
    many = "Array<" in kind or kind in ("keyword", "text")
    if isinstance(value, list):
        return many and all(isinstance(one, str) for one in value)
    if kind.startswith("string") or kind.startswith("'") or kind in ("keyword", "text"):
        return isinstance(value, str)
    if kind in ("number", "long"):
        return isinstance(value, int) and not isinstance(value, bool)
    return kind == "object" and isinstance(value, dict)


def ecs(out, columns):
    known = {}
    for name in ["ecs-9.4.0.txt", "winlogbeat.txt"]:
        for line in (HERE / name).read_text().splitlines():
            if not line.startswith("#"):
                field, kind = line.split("\t")
                known[field] = kind
    ours = {column["name"] for column in columns}
    events = sessions = detections = 0
    for line in lines(out / "ecs.jsonl"):
        for name, value in flat(line):
            assert name in ours, f"{name} is not in the schema"
            if name.startswith("psr."):
                continue
            assert name in known, f"{name} is no field of ECS or Winlogbeat"
            assert fits(value, known[name]), (name, value, known[name])
        for name in ["source.ip", "destination.ip"]:
            group, _, field = name.partition(".")
            if field in line.get(group, {}):
                ipaddress.ip_address(line[group][field])
        for name in line.get("related", {}).get("ip", []):
            ipaddress.ip_address(name)
        dataset = line["event"]["dataset"]
        events += dataset == "psr.event"
        sessions += dataset == "psr.session"
        detections += dataset == "psr.detection"
    assert events == len(rows(out / "timeline.csv"))
    assert sessions == len(rows(out / "sessions.csv"))
    assert detections == len(rows(out / "detections.csv"))
    print(f"ecs: {events + sessions + detections} lines, each field published and of its type")


def splunk(out, columns):
    ours = {column["name"] for column in columns}
    count = 0
    for line in lines(out / "splunk.jsonl"):
        assert {"time", "host", "sourcetype", "event", "fields"} >= set(line) - {"source"}
        assert isinstance(line["time"], float) and line["event"]
        # Indexed fields are texts or lists of texts, and nothing deeper.
        for name, value in line["fields"].items():
            assert f"fields.{name}" in ours, name
            values = value if isinstance(value, list) else [value]
            assert all(isinstance(one, str) for one in values), (name, value)
        if line["sourcetype"] != "XmlWinEventLog":
            for name in line["event"]:
                assert f"event.{name}" in ours, name
        count += 1
    want = sum(len(rows(out / f"{name}.csv")) for name in ["timeline", "sessions", "detections"])
    assert count == want
    print(f"splunk: {count} lines")


def main():
    program, out = sys.argv[1], pathlib.Path(sys.argv[2])
    schema = json.loads(subprocess.run([program, "schema", "--json"], check=True,
                                       capture_output=True).stdout)
    files = {format["format"]: format["files"] for format in schema}
    for file in files["csv"]:
        assert list(pandas.read_csv(out / file["name"], dtype=str, nrows=0).columns) == [
            column["name"] for column in file["columns"]
        ]
        safe_names = {"clock_offset_seconds"}
        found = rows(out / file["name"])
        safe(out / file["name"], [
            {name: cell for name, cell in row.items() if name not in safe_names} for row in found
        ])
    parquet(out, files["parquet"])
    evtxecmd(out)
    timesketch(out)
    ecs(out, files["ecs"][0]["columns"])
    splunk(out, files["splunk"][0]["columns"])


main()
