"""Reads every .evtx below a folder with python-evtx and checks each checksum and record.

    pip install python-evtx
    python samples/check.py [FOLDER]

Prints the number of records per file; exits with 1 if a file has faults.
"""

import pathlib
import sys

import Evtx.Evtx


def check(path):
    """Returns the number of records and the faults of the file."""
    faults = []
    records = 0
    with Evtx.Evtx.Evtx(str(path)) as log:
        header = log.get_file_header()
        if not header.verify():
            faults.append("file header")
        if header.chunk_count() != (path.stat().st_size - 4096) // 65536:
            faults.append("chunk count")
        last = 0
        for number, chunk in enumerate(header.chunks(include_inactive=True)):
            if not chunk.verify():
                faults.append(f"chunk {number}")
                continue
            for record in chunk.records():
                last = record.record_num()
                if not record.verify():
                    faults.append(f"record {last}")
                record.xml()
                records += 1
        if header.next_record_number() != last + 1:
            faults.append("next record number")
    return records, faults


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    paths = sorted(folder.rglob("*.evtx"))
    sound = bool(paths)
    for path in paths:
        records, faults = check(path)
        sound &= not faults
        print(f"{records:6}  {path.relative_to(folder)}  {', '.join(faults) or 'ok'}")
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
