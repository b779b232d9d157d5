from __future__ import annotations

from pathlib import Path

import pytest

from basicsr.analysis.arguments import refuse_equal_labels, split_label
from basicsr.utils.errors import UserError


def test_labels_end_at_the_first_sign_unless_the_whole_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert split_label("bicubic") == ("", "bicubic")
    assert split_label("A=g.pth") == ("A", "g.pth")
    assert split_label("A=x=1/g.pth") == ("A", "x=1/g.pth")
    assert split_label("x=1/g.pth") == ("x", "1/g.pth")
    (tmp_path / "x=1").mkdir()
    (tmp_path / "x=1" / "g.pth").touch()
    assert split_label("x=1/g.pth") == ("", "x=1/g.pth")


@pytest.mark.parametrize("text", ["T=", "T= ", "=", ""])
def test_nothing_is_not_the_current_folder(text: str):
    with pytest.raises(UserError, match="names nothing"):
        split_label(text)


def test_labels_must_differ():
    refuse_equal_labels(["A", "a"], "profiles", "LABEL=FILE")
    for labels in (["A", "B", "A"], []):
        with pytest.raises(UserError, match=r"profiles need different names.*LABEL=FILE"):
            refuse_equal_labels(labels, "profiles", "LABEL=FILE")
