"""Each line of docs/python.md, run as written."""

import doctest
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_walk_through_the_samples(tmp_path, monkeypatch):
    for name in ["samples", "detections"]:
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    examples = doctest.DocTestParser().get_doctest(page, {}, "python.md", "docs/python.md", 0)
    assert len(examples.examples) > 15
    told = []
    runner.run(examples, out=told.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(told)
