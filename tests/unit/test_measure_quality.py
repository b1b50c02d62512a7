"""Read quality per mate over all files of a sample."""

import gzip
import json

from measure_quality import main


def write_fastq(path, n, *, quality):
    text = "".join(f"@r{i}\nACGTACGT\n+\n{quality * 8}\n" for i in range(n))
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_files_plain_and_gzipped_are_measured_as_one(tmp_path):
    (tmp_path / "inspection.json").write_text('{"ok": true}')
    files = [
        write_fastq(tmp_path / "a.fastq.gz", 30, quality="I"),
        write_fastq(tmp_path / "b.fastq", 10, quality="#"),
    ]
    main(
        mates={"R1": files},
        inspection=tmp_path / "inspection.json",
        reports={"R1": tmp_path / "R1.json"},
        fingerprint_every=1,
    )
    summary = json.loads((tmp_path / "R1.json").read_text())["summary"]
    assert summary["total_reads"] == 40
    assert summary["q20_reads"] == 30
    assert summary["mean_length"] == 8


def test_a_sample_set_aside_is_not_measured(tmp_path):
    (tmp_path / "inspection.json").write_text('{"ok": false}')
    main(
        mates={"R1": [tmp_path / "damaged.fastq.gz"]},
        inspection=tmp_path / "inspection.json",
        reports={"R1": tmp_path / "R1.json"},
        fingerprint_every=1,
    )
    assert json.loads((tmp_path / "R1.json").read_text()) == {}
