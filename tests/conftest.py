"""What the tests of the workflow share."""

import pytest

# so that a failed check of these tells its values
pytest.register_assert_rewrite("page_acts", "page_looks", "page_numbers")


@pytest.fixture
def project(tmp_path):
    """Make a working folder whose files exist, but hold next to nothing.

    Three samples: two with reads (one of them on two lanes), one with counts.
    """

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    for name in ("genome.fa", "genes.gtf", "list.txt", "counts.h5ad"):
        write(name, "x\n")
    for name in ("a_1", "a_2", "a2_1", "a2_2", "b_1", "b_2"):
        write(f"reads/{name}.fastq", f"@{name}\nA\n+\nI\n")
    write(
        "config/samples.tsv",
        "sample\tcondition\tcounts\na\tx\t\nb\ty\t\nc\ty\t../counts.h5ad\n",
    )
    write(
        "config/reads.tsv",
        "sample\tlane\tfastq_1\tfastq_2\n"
        "a\t1\t../reads/a_1.fastq\t../reads/a_2.fastq\n"
        "b\t1\t../reads/b_1.fastq\t../reads/b_2.fastq\n"
        "a\t2\t../reads/a2_1.fastq\t../reads/a2_2.fastq\n",
    )
    write(
        "config/config.yaml",
        "check_reference: {fasta: genome.fa, gtf: genes.gtf}\n"
        "prepare_whitelist: {3M-february-2018: list.txt}\n",
    )
    return tmp_path
