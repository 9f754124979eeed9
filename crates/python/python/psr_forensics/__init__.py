"""Rebuilds PowerShell Remoting sessions from Windows event logs, with the records that prove them.

Tables are Arrow streams (the PyCapsule interface): give them to ``pyarrow.table``, ``polars.DataFrame``,
``pandas.DataFrame.from_arrow`` or, by their name in a query, to DuckDB. A failed run raises an
:class:`Error`. Damage inside logs does not: the ledger lists it.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

from . import _native
from ._native import Error, Table

__all__ = [
    "Binary",
    "Decoded",
    "Error",
    "Layer",
    "Observations",
    "Pack",
    "Remark",
    "Results",
    "Table",
    "analyze",
    "check_packs",
    "correlate",
    "decode",
    "extract",
    "packs",
]

__version__: str = _native.VERSION

#: A file, a folder or a glob.
PathLike = Union[str, "os.PathLike[str]"]
#: One path or several paths.
Paths = Union[PathLike, Sequence[PathLike]]


def _paths(paths: Paths) -> List[PathLike]:
    return [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)


class Observations:
    """The records in a case folder that sessions and rules need, as an Arrow stream with the
    columns of docs/outputs.md and ``input_file``."""

    def __init__(self, case: PathLike) -> None:
        self.case = Path(case)
        self.table: Table = _native.observations([self.case])
        #: The number of files that an earlier run had finished. They are not read again.
        self.before = 0

    def __arrow_c_stream__(self, requested_schema: Optional[object] = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.table.__arrow_c_schema__()

    @property
    def num_rows(self) -> int:
        """The number of observations."""
        return self.table.num_rows or 0

    @property
    def ledger(self) -> List[Dict[str, Any]]:
        """A row for each input: its hash, how much of it was read, and its faults."""
        rows: List[Dict[str, Any]] = json.loads(_native.ledger(self.case))
        return rows

    def __repr__(self) -> str:
        return f"Observations({str(self.case)!r}, {self.num_rows} rows)"


class Results:
    """A folder of results with Parquet tables: the tables as attributes, each an Arrow stream with the
    columns of docs/outputs.md."""

    timeline: Table
    sessions: Table
    commands: Table
    layers: Table
    attempts: Table
    hosts: Table
    coverage: Table
    integrity: Table
    detections: Table
    findings: Table

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        #: The temporary folder of a run without ``output``. It exists as long as the results object.
        self._kept: Optional["tempfile.TemporaryDirectory[str]"] = None
        if not (self.folder / "parquet").is_dir():
            raise Error(f"{self.folder}: no Parquet tables: make the run with the format parquet")

    def __getattr__(self, name: str) -> Table:
        if name not in TABLES:
            raise AttributeError(name)
        return self.table(name)

    def table(self, name: str) -> Table:
        """The table of this name."""
        return _native.parquet(self.folder / "parquet" / f"{name}.parquet")

    @property
    def run(self) -> Dict[str, Any]:
        """run.json: the run, its inputs, and what could not be read."""
        manifest: Dict[str, Any] = json.loads((self.folder / "run.json").read_text("utf-8"))
        return manifest

    @property
    def ledger(self) -> List[Dict[str, Any]]:
        """A row for each input: its hash, how much of it was read, and its faults."""
        rows: List[Dict[str, Any]] = self.run["inputs"]
        return rows

    def __dir__(self) -> List[str]:
        return sorted({*super().__dir__(), *TABLES})

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r})"


#: The names of the tables.
TABLES: List[str] = _native.tables()


def extract(
    paths: Paths,
    case: PathLike,
    *,
    packs: Paths = (),
    default_pack: bool = True,
    recover: bool = False,
    threads: int = 0,
) -> Observations:
    """Extracts logs to a case folder, and creates the folder if it does not exist. Files that are already
    extracted are not read again. The records that rules of ``packs`` need are kept, besides those of sessions."""
    given = _paths(paths)
    before = _native.extract(given, case, _how(packs, default_pack, threads, recover), False)
    observations = Observations(case)
    observations.before = before
    return observations


def correlate(
    cases: Union[PathLike, Observations, Sequence[Union[PathLike, Observations]]],
    output: Optional[PathLike] = None,
    *,
    packs: Paths = (),
    default_pack: bool = True,
    formats: Sequence[str] = (),
    force: bool = False,
    threads: int = 0,
) -> Results:
    """Rebuilds sessions, commands and detections from case folders. Without ``output`` the results are in a
    temporary folder, which is deleted with the results object. ``formats`` are written besides the Parquet
    tables."""
    given = [cases] if isinstance(cases, (str, os.PathLike, Observations)) else list(cases)
    folders = [each.case if isinstance(each, Observations) else each for each in given]
    how = _how(packs, default_pack, threads, False)
    with _Target(output, force, formats) as target:
        where = target.where("correlate", folders, how)
        _native.correlate(folders, how, where)
        return target.results()


def analyze(
    paths: Paths,
    output: Optional[PathLike] = None,
    *,
    packs: Paths = (),
    default_pack: bool = True,
    recover: bool = False,
    formats: Sequence[str] = (),
    force: bool = False,
    threads: int = 0,
) -> Results:
    """Rebuilds sessions, commands and detections from logs: :func:`extract` and :func:`correlate` in one step.
    No case folder is kept. Without ``output`` the results are in a temporary folder, which is deleted with the
    results object."""
    given = _paths(paths)
    how = _how(packs, default_pack, threads, recover)
    with _Target(output, force, formats) as target:
        where = target.where("analyze", given, how)
        _native.analyze(given, how, where)
        return target.results()


class _Target:
    """The folder and formats of a run's results."""

    def __init__(self, output: Optional[PathLike], force: bool, formats: Sequence[str]) -> None:
        self.kept = tempfile.TemporaryDirectory(prefix="psr-forensics-") if output is None else None
        self.folder = Path(output if output is not None else str(self.kept and self.kept.name))
        self.force = force
        self.formats = ["parquet", *(each for each in formats if each != "parquet")]
        self.finished: Optional[Results] = None

    def where(self, verb: str, inputs: Sequence[PathLike], how: Dict[str, Any]) -> Dict[str, Any]:
        packs = [argument for pack in how["packs"] for argument in ("--pack", os.fspath(pack))]
        options = [
            *([] if how["default_pack"] else ["--no-default-pack"]),
            *(["--recover"] if how["recover"] else []),
            *(argument for each in self.formats for argument in ("--format", each)),
        ]
        arguments = [verb, *map(os.fspath, inputs), *packs, *options, "-o", str(self.folder)]
        return {
            "output": self.folder,
            "force": self.force,
            "formats": self.formats,
            "arguments": arguments,
        }

    def results(self) -> Results:
        self.finished = Results(self.folder)
        self.finished._kept = self.kept
        return self.finished

    def __enter__(self) -> "_Target":
        return self

    def __exit__(self, *_: object) -> None:
        if self.finished is None and self.kept is not None:
            self.kept.cleanup()


def _how(packs: Paths, default_pack: bool, threads: int, recover: bool) -> Dict[str, Any]:
    return {
        "packs": _paths(packs),
        "default_pack": default_pack,
        "threads": threads,
        "recover": recover,
    }


@dataclass(frozen=True)
class Layer:
    """A text that was hidden in another."""

    text: str
    #: How it was hidden: encoded_command, base64, inflated, command_line, invoked, evaluated.
    how: str
    #: The index of the layer that it was found in; ``None`` for the given text.
    parent: Optional[int]
    #: Its offset in that text, in bytes of UTF-8.
    offset: int


@dataclass(frozen=True)
class Binary:
    """A program found in a layer."""

    what: str
    #: The size in bytes.
    size: int
    #: The index of the layer that it was found in; ``None`` for the given text.
    parent: Optional[int]
    #: Its offset in that text, in bytes of UTF-8.
    offset: int


@dataclass(frozen=True)
class Decoded:
    """The texts and programs found in a text."""

    layers: List[Layer]
    binaries: List[Binary]
    #: The limit at which decoding stopped; ``None`` if it was not reached.
    stopped: Optional[str]


def decode(text: str) -> Decoded:
    """Decodes the layers of a command line or script. Nothing is executed."""
    found = json.loads(_native.decode(text))
    return Decoded(
        layers=[Layer(**each) for each in found["layers"]],
        binaries=[Binary(**each) for each in found["binaries"]],
        stopped=found["stopped"],
    )


@dataclass(frozen=True)
class Pack:
    """A folder of Sigma rules."""

    name: str
    #: Its path; ``None`` for the built-in pack.
    path: Optional[str]
    #: The SHA-256 of the names and contents of its files.
    sha256: str
    #: The rules: id, title, level.
    rules: List[Dict[str, Any]]
    #: The rules that did not load: file, reason.
    refused: List[Dict[str, str]]


def packs(paths: Paths = (), *, default_pack: bool = True) -> List[Pack]:
    """Loads packs and lists their rules, the built-in pack first."""
    return [Pack(**each) for each in json.loads(_native.packs(_paths(paths), default_pack))]


@dataclass(frozen=True)
class Remark:
    """A mistake in a rule."""

    file: str
    line: Optional[int]
    what: str


def check_packs(paths: Paths, *, default_pack: bool = False) -> List[Remark]:
    """Looks for mistakes in the rules of packs."""
    return [Remark(**each) for each in json.loads(_native.check_packs(_paths(paths), default_pack))]
