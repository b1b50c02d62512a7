"""STAR as a child process."""

import stat

from _shared.star import environment, run_star


def test_star_runs_with_large_pages(tmp_path, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    star = tmp_path / "STAR"
    star.write_text(f'#!/bin/sh\necho "$GLIBC_TUNABLES" > {tmp_path}/seen\n')
    star.chmod(star.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    run_star({"runThreadN": 1}, scratch=tmp_path)
    assert (tmp_path / "seen").read_text() == "glibc.malloc.hugetlb=1\n"


def test_what_the_user_has_tuned_stays(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=3")
    monkeypatch.setenv("OTHER", "x")
    assert environment()["GLIBC_TUNABLES"] == "glibc.malloc.check=3"
    assert environment()["OTHER"] == "x"
