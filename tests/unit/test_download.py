"""Downloads end byte-identical whatever the network does, or say why not."""

import errno
import hashlib

import pytest
from archive import Archive

from _shared import download as module
from _shared.download import NotThereError, download, read_text
from _shared.logs import UserError

CONTENT = bytes(range(256)) * 5000
SUMS = {"md5": hashlib.md5(CONTENT).hexdigest()}


def names_in(folder):
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def archive(monkeypatch):
    """Serve files on this machine; nobody waits between attempts."""
    monkeypatch.setattr(module, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(module, "CHUNK", 1 << 16)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Archive() as running:
        running.files["/list"] = CONTENT
        yield running


@pytest.fixture
def fetch(archive, tmp_path):
    def run(sums=SUMS, *, hosts=("{}",)):
        urls = [f"http://{host.format(archive.address)}/list" for host in hosts]
        return download(urls, tmp_path / "list", sums=sums)

    return run


def test_a_file_comes_whole_and_is_described(fetch, archive, tmp_path):
    facts = fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT
    assert facts == {
        "file": "list",
        "url": f"http://{archive.address}/list",
        "bytes": len(CONTENT),
        "md5": SUMS["md5"],
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert names_in(tmp_path) == ["list"]


def test_a_broken_connection_goes_on_where_it_broke(fetch, archive, tmp_path):
    # more breaks than pauses: each brings something, so the patience is not used up
    archive.faults["/list"] = ["cut"] * 6
    fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT
    starts = [asked for _, asked in archive.requests]
    assert starts[:3] == [
        None,
        f"bytes={len(CONTENT) // 2}-",
        f"bytes={len(CONTENT) * 3 // 4}-",
    ]


def test_a_server_without_ranges_sends_all_again(fetch, archive, tmp_path):
    archive.knows_ranges = False
    archive.faults["/list"] = ["cut"]
    fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [503, 429, "hang up"])
def test_a_busy_server_is_asked_again(fetch, archive, tmp_path, fault):
    archive.faults["/list"] = [fault] * 3
    fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT


def test_patience_ends_and_keeps_what_is_here(fetch, archive, tmp_path):
    archive.faults["/list"] = ["cut", *[503] * 9]
    with pytest.raises(UserError, match=r"cannot be fetched \(HTTP 503 .*run again"):
        fetch()
    assert names_in(tmp_path) == ["list.part"]
    assert (tmp_path / "list.part").read_bytes() == CONTENT[: len(CONTENT) // 2]
    archive.faults.clear()
    archive.requests.clear()
    fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT
    assert archive.requests == [("/list", f"bytes={len(CONTENT) // 2}-")]


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * (len(CONTENT) + 9)])
def test_what_another_file_left_is_not_used(fetch, tmp_path, left):
    (tmp_path / "list.part").write_bytes(left)
    fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_fetched_again(fetch, archive, tmp_path):
    (tmp_path / "list").write_bytes(CONTENT)
    fetch()
    assert (tmp_path / "list").read_bytes() == CONTENT
    assert archive.requests == []


def test_a_wrong_checksum_names_both_and_keeps_nothing(fetch, tmp_path):
    with pytest.raises(UserError) as error:
        fetch({"sha256": "0" * 64})
    assert hashlib.sha256(CONTENT).hexdigest() in str(error.value)
    assert "0" * 64 in str(error.value)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(fetch, archive, status):
    archive.faults["/list"] = [status] * 9
    with pytest.raises(NotThereError, match=f"/list: the server says HTTP {status}"):
        fetch()
    assert len(archive.requests) == 1


def test_the_next_address_is_tried(fetch, tmp_path):
    # port 9 of this machine answers nobody
    assert "127.0.0.1:9" not in fetch(hosts=("127.0.0.1:9", "{}"))["url"]
    assert (tmp_path / "list").read_bytes() == CONTENT


def test_no_server_is_one_sentence(archive):
    with pytest.raises(UserError, match=r"cannot be fetched \(.*refused.*network"):
        read_text("http://127.0.0.1:9/list")


def test_a_full_disk_is_told(fetch, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    real = module.Path.open
    monkeypatch.setattr(
        module.Path,
        "open",
        lambda path, mode="r": Full() if mode == "ab" else real(path, mode),
    )
    with pytest.raises(UserError, match=r"No space left on device.*make room"):
        fetch()
