"""What is to be cited: a file that tools read, with BibTeX beside it, and the line that installs detectron2."""

from __future__ import annotations

import pytest
from source_tree import ROOT

import ovsbench


def test_the_citation_names_the_suite_and_the_paper_in_both_forms():
    yaml = pytest.importorskip("yaml")
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = yaml.safe_load(text)
    assert cited["version"] == ovsbench.__version__
    (paper,) = cited["references"]
    assert (paper["year"], paper["url"]) == (2023, "https://arxiv.org/abs/2303.09181")
    bibtex = text.partition("# As BibTeX:")[2]
    assert [bibtex.count(mark) for mark in ("@software{", "@inproceedings{")] == [1, 1]
    assert bibtex.count("{") == bibtex.count("}")
    assert cited["title"] in bibtex
    assert paper["title"] in bibtex
    assert all(f"{one['family-names']}, {one['given-names']}" in bibtex for one in paper["authors"])


def test_a_document_has_the_line_that_installs_detectron2():
    text = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    assert "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'" in text
