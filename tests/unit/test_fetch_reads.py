"""Runs are fetched as the archive has them, and what it lacks is said."""

import hashlib
import json

import pytest
from archive import Archive

from _shared import download
from _shared.bad_reads import BadReadsError
from _shared.logs import UserError
from fetch_reads import KINDS, PARTS, choose, files_of, main

RUN = "SRR0000001"
COLUMNS = [f"{kind}_{part}" for kind in KINDS for part in PARTS]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def report(*, made=(), given=()):
    """Return a row of the archive's report about files of these names."""
    row = dict.fromkeys(COLUMNS, "") | {"run_accession": RUN}
    for kind, names in (("fastq", made), ("submitted", given)):
        row[f"{kind}_ftp"] = ";".join(f"host/vol1/{name}" for name in names)
        row[f"{kind}_md5"] = ";".join("0" * 32 for _ in names)
        row[f"{kind}_bytes"] = ";".join("7" for _ in names)
    return row


def chosen(row, *, one_is_enough=False):
    files, why = choose(row, one_is_enough=one_is_enough)
    return [file["url"].rsplit("/", 1)[1] for file in files], why


PAIR = [f"{RUN}_1.fastq.gz", f"{RUN}_2.fastq.gz"]
ONE = [f"{RUN}.fastq.gz"]
LANES = ["a_I1.fastq.gz", "a_R1.fastq.gz", "a_R2.fastq.gz"]


@pytest.mark.parametrize(
    ("made", "given", "names", "why"),
    [
        (PAIR, [], PAIR, "the archive's 2 FASTQ files"),
        ([*PAIR, f"{RUN}_3.fastq.gz"], LANES, [*PAIR, f"{RUN}_3.fastq.gz"], "3 FASTQ"),
        ([*ONE, *PAIR], [], PAIR, "the archive's 2"),
        (PAIR, LANES, LANES, "as submitted: the archive's own are 2"),
        (ONE, LANES, LANES, "as submitted"),
        ([], LANES, LANES, "as submitted"),
        (ONE, ["x.bam", "x.bam.bai"], ["x.bam"], "the BAM as submitted"),
        (PAIR, ["x.bam"], PAIR, "the archive's 2"),
    ],
)  # fmt: skip
def test_the_files_with_the_barcodes_are_chosen(made, given, names, why):
    assert chosen(report(made=made, given=given))[0] == names
    assert why in chosen(report(made=made, given=given))[1]


def test_a_cell_of_a_plate_needs_one_file():
    row = report(made=ONE, given=["x.bam"])
    assert chosen(row, one_is_enough=True) == (ONE, "the one FASTQ file of a cell")


@pytest.mark.parametrize(
    ("made", "given"), [(ONE, []), ([], []), (ONE, ["a.fastq.gz"]), ([], ["a.sra"])]
)
def test_a_run_without_barcode_reads_is_refused_before_it_is_fetched(made, given):
    with pytest.raises(BadReadsError, match="technical reads") as error:
        choose(report(made=made, given=given), one_is_enough=False)
    assert f"--split-files {RUN}" in error.value.hint


def test_a_file_without_checksum_is_left_out():
    row = report(made=PAIR) | {"fastq_md5": f"{'0' * 32};"}
    assert len(files_of(row, "fastq")) == 1


@pytest.fixture
def archive(monkeypatch):
    """Serve a run of two files on this machine."""
    monkeypatch.setattr(download, "PAUSES", (0, 0, 0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Archive() as running:
        bodies = [bytes([65 + n]) * 300_000 for n in range(2)]
        paths = [f"/vol1/{name}" for name in PAIR]
        running.files |= dict(zip(paths, bodies, strict=True))
        values = {
            "ftp": [f"{running.address}{path}" for path in paths],
            "md5": [hashlib.md5(body).hexdigest() for body in bodies],
            "bytes": [str(len(body)) for body in bodies],
        }
        row = {f"fastq_{part}": ";".join(value) for part, value in values.items()}
        running.say = lambda **changed: _say(running, row | changed)
        running.say()
        yield running


def _say(running, row):
    cells = ["run_accession", *row], [RUN, *row.values()]
    text = "".join("\t".join(line) + "\n" for line in cells)
    running.files["/api/filereport"] = text.encode()


@pytest.fixture
def fetch(archive, tmp_path):
    def run(*, accession=RUN, strict=False):
        folder = tmp_path / "fetched" / accession
        folder.parent.mkdir(exist_ok=True)
        main(
            accession=accession,
            server=f"http://{archive.address}/api",
            one_is_enough=False,
            strict=strict,
            folder=folder,
        )
        return folder, json.loads((folder / "fetched.json").read_text())

    return run


def test_the_files_of_a_run_come_whole(fetch, archive):
    archive.faults[f"/vol1/{PAIR[1]}"] = ["hang up", "cut", 503]
    folder, facts = fetch()
    assert names_in(folder) == [*PAIR, "fetched.json"]
    for name, file in zip(PAIR, facts["files"], strict=True):
        body = archive.files[f"/vol1/{name}"]
        assert (folder / name).read_bytes() == body
        assert file["file"] == name
        assert file["url"] == f"http://{archive.address}/vol1/{name}"
        assert file["md5"] == hashlib.md5(body).hexdigest()
        assert file["sha256"] == hashlib.sha256(body).hexdigest()
        assert file["bytes"] == len(body)
    assert (facts["ok"], facts["reason"]) == (True, "")
    assert names_in(folder.parent) == [RUN]
    query = archive.requests[0][0]
    assert f"accession={RUN}&result=read_run&fields=run_accession%2Cfastq_ftp" in query


def test_what_a_failed_attempt_brought_is_not_fetched_again(fetch, archive, tmp_path):
    second = f"/vol1/{PAIR[1]}"
    archive.faults[second] = ["cut", *[503] * 9]
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch()
    assert not (tmp_path / "fetched" / RUN).exists()
    archive.faults.clear()
    archive.requests.clear()
    folder, _ = fetch()
    assert (folder / PAIR[1]).read_bytes() == archive.files[second]
    assert archive.requests[1:] == [(second, "bytes=150000-")]


def test_a_wrong_checksum_is_an_error(fetch, archive):
    archive.say(fastq_md5=f"{'0' * 32};{'0' * 32}")
    with pytest.raises(UserError, match=r"its md5 is [0-9a-f]+ and should be 0+;"):
        fetch()


def test_a_disk_too_small_is_told_before_the_first_byte(fetch, archive):
    archive.say(fastq_bytes=f"{10**18};{10**18}")
    with pytest.raises(
        UserError, match=r"what is to be fetched takes about .* MB of disk"
    ):
        fetch()
    assert len(archive.requests) == 1


@pytest.mark.parametrize("status", [None, 400, 404])
def test_an_unknown_run_is_set_aside(fetch, archive, status):
    archive.faults["/api/filereport"] = [status]
    folder, facts = fetch(accession="SRR0000002")
    assert names_in(folder) == ["fetched.json"]
    assert (facts["ok"], facts["stage"], facts["files"]) == (False, "fetch_reads", [])
    assert "knows no run SRR0000002" in facts["reason"]
    assert "column accession" in facts["hint"]


def test_a_file_that_is_listed_and_not_there_sets_the_run_aside(fetch, archive):
    del archive.files[f"/vol1/{PAIR[1]}"]
    folder, facts = fetch()
    assert facts["ok"] is False
    assert f"{PAIR[1]}: the server says HTTP 404" in facts["reason"]
    assert names_in(folder) == ["fetched.json"]


def test_strict_turns_an_unknown_run_into_an_error(fetch):
    with pytest.raises(UserError, match=r"accession SRR0000002: .* knows no run"):
        fetch(accession="SRR0000002", strict=True)


def test_an_archive_out_of_reach_is_one_sentence(fetch, archive):
    archive.faults["/api/filereport"] = [503] * 9
    with pytest.raises(UserError, match=r"filereport.*HTTP 503.*check the network"):
        fetch()
