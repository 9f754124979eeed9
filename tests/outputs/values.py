"""Reads a script and lists out of a run's Parquet tables, with three readers that are not ours.

    pip install pandas pyarrow duckdb polars
    python tests/outputs/values.py out script.txt

`script.txt` has the text of the only command as it was logged. Ends with 77 where a package is
missing.
"""

import pathlib
import sys

try:
    import duckdb
    import pandas
    import polars
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def main():
    out, script = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes()
    tables = {path.stem: str(path) for path in (out / "parquet").glob("*.parquet")}
    commands, sessions = tables["commands"], tables["sessions"]
    for reader, texts in [
        ("DuckDB", [row[0] for row in duckdb.sql(f"SELECT text FROM '{commands}'").fetchall()]),
        ("pandas", pandas.read_parquet(commands)["text"].tolist()),
        ("polars", polars.read_parquet(commands)["text"].to_list()),
    ]:
        assert [text.encode() for text in texts] == [script], (reader, [len(text) for text in texts])
        print(f"{reader}: {len(script)} bytes")

    # Lists are lists, and nothing is null.
    [[evidence, original]] = duckdb.sql(f"SELECT evidence, original FROM '{commands}'").fetchall()
    parts = polars.read_parquet(tables["timeline"]).filter(polars.col("event_id") == 4104)
    assert isinstance(evidence, list) and len(evidence) == len(parts), len(evidence)
    assert original is None
    assert polars.read_parquet(commands)["evidence"].to_list() == [evidence]
    assert [list(texts) for texts in pandas.read_parquet(commands)["evidence"]] == [evidence]
    ids = duckdb.sql(f"SELECT unnest(logon_ids) FROM '{sessions}'").fetchall()
    assert ids == [("0x51abc",)], ids
    # The records of the script together are the script.
    texts = parts.sort("record_id")["summary"].to_list()
    total = len(texts)
    texts = [text.removeprefix(f"[{n}/{total}] ") for n, text in enumerate(texts, 1)]
    assert "".join(texts).encode() == script
    print(f"timeline: {total} records hold the script")


main()
