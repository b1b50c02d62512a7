"""Folders that cannot be written to are told before anything is run."""

import os
import time

import pytest

from _shared import tools
from _shared.logs import UserError


def test_folders_that_can_be_made_or_written_are_fine(tmp_path):
    (tmp_path / "results").mkdir()
    tools.check_writable(str(tmp_path), str(tmp_path / "results"), str(tmp_path / "no"))


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="results: cannot be written to"):
        tools.check_writable(str(tmp_path / "results"))


def test_a_read_only_folder_is_told(tmp_path, monkeypatch):
    # whoever runs the tests may be allowed everything
    monkeypatch.setattr(tools.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="read-only"):
        tools.check_writable(str(tmp_path))


def test_a_file_that_was_changed_in_the_future_is_told(tmp_path):
    early, late = tmp_path / "early", tmp_path / "la te"
    for path, changed in ((early, 0), (late, time.time() + 1000)):
        path.touch()
        os.utime(path, (changed, changed))
    tools.check_times([str(early), str(tmp_path / "none")])
    with pytest.raises(UserError, match=r"la te: was changed in the future .*la te'"):
        tools.check_times([str(early), str(late)])
