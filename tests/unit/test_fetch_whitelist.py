"""A barcode list is fetched and must be the one that the table of lists means."""

import gzip
import hashlib

import pytest
from archive import Archive

from _shared import download
from _shared.logs import UserError
from fetch_whitelist import main

LIST = b"ACGT\nTTTT\n"
# as names of the cases: the bytes of gzip tell the time
FORMS = ("plain", "gzipped")


@pytest.fixture
def fetch(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "PAUSES", (0,))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Archive() as archive:
        archive.files["/list.gz"] = LIST
        target = tmp_path / "list"

        def run(sha256, *, path="/list.gz"):
            source = {"url": f"http://{archive.address}{path}", "sha256": sha256}
            main(name="list", source=source, target=target)
            return target.read_bytes()

        run.folder, run.archive = tmp_path, archive
        yield run


RIGHT = hashlib.sha256(LIST).hexdigest()


@pytest.mark.parametrize("content", [LIST, gzip.compress(LIST)], ids=FORMS)
def test_a_list_is_fetched_gzipped_or_not(fetch, content):
    fetch.archive.files["/list.gz"] = content
    assert fetch(RIGHT) == content


@pytest.mark.parametrize("content", [b"AAAA\n", gzip.compress(b"AAAA\n")], ids=FORMS)
def test_another_list_under_the_address_is_refused(fetch, content):
    fetch.archive.files["/list.gz"] = content
    with pytest.raises(UserError) as error:
        fetch(RIGHT)
    said = str(error.value)
    assert hashlib.sha256(b"AAAA\n").hexdigest() in said
    assert RIGHT in said
    assert "prepare_whitelist: list" in said
    assert list(fetch.folder.iterdir()) == []


CUT = gzip.compress(LIST)[:-3]
# the first block is of a kind that does not exist
GARBLED = CUT[:10] + b"\xff" + CUT[11:]


@pytest.mark.parametrize("content", [CUT, GARBLED], ids=["cut", "garbled"])
def test_a_damaged_list_is_refused(fetch, content):
    fetch.archive.files["/list.gz"] = content
    with pytest.raises(UserError, match="the file is damaged"):
        fetch(RIGHT)
    assert list(fetch.folder.iterdir()) == []


@pytest.mark.parametrize("n_left", [4, len(LIST)])
def test_what_a_failed_attempt_left_is_continued(fetch, n_left):
    (fetch.folder / "list.part").write_bytes(LIST[:n_left])
    assert fetch(RIGHT) == LIST


def test_a_list_that_is_gone_is_told(fetch):
    with pytest.raises(
        UserError, match=r"list list: .*HTTP 404.*prepare_whitelist: list"
    ):
        fetch("f" * 64, path="/gone")
