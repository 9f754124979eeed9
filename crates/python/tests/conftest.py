"""Where things are. `PSR_FORENSICS` names the program: results of the package are compared with its."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    """Paths are those of the project's folder, as in its documents."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def program():
    """Runs the program."""
    path = os.environ.get("PSR_FORENSICS")
    if not path:
        pytest.skip("PSR_FORENSICS names no program")

    def run(*args):
        done = subprocess.run([path, *map(str, args)], cwd=ROOT, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return run
