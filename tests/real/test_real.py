"""The unchanged workflow on public data with known answers."""

import gzip
import json
import os
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pysam
import pytest
import scanpy as sc
import yaml
from running import snakemake, text_of
from scipy import io
from sklearn.metrics import adjusted_rand_score, roc_auc_score

DATA = Path(os.environ.get("REAL_DATA") or "REAL_DATA-is-not-set")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(), reason=f"no real data: REAL_DATA={DATA} is not a folder"
    ),
]
REFERENCE = "ref-human-chr21-exonic/NC_000021.9"


def run(folder, *targets, samples, reads=None, **config):
    """Write sheets and config, run the workflow, return the folder of results."""
    (folder / "config").mkdir()
    samples.to_csv(folder / "config/samples.tsv", sep="\t", index=False)
    if reads is not None:
        reads.to_csv(folder / "config/reads.tsv", sep="\t", index=False)
        config["check_reference"] = {
            "fasta": str(DATA / f"{REFERENCE}.exonic_N-masked.fa.gz"),
            "gtf": str(DATA / f"{REFERENCE}.ensembl_2050tx.gtf.gz"),
        }
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(folder, *targets)
    assert done.returncode == 0, text_of(done)[-5000:]
    if not targets:
        assert (folder / "results/report/report.html").stat().st_size > 10_000
    return folder / "results"


def read_lines(path):
    with gzip.open(path, "rt") as lines:
        return lines.read().split("\n")[:-1]


def test_drop_seq_against_kallisto(tmp_path):
    source = DATA / "reads-dropseq-hek-chr21"
    reads = source / "SRR1873277_S1_L001_R{}_001.fastq.gz"
    results = run(
        tmp_path,
        samples=pd.DataFrame({"sample": ["hek"]}),
        reads=pd.DataFrame(
            {
                "sample": ["hek"],
                "fastq_1": [str(reads).format(1)],
                "fastq_2": [str(reads).format(2)],
            }
        ),
        index_genome={"sjdbOverhang": 59},
    )
    called = pd.read_csv(results / "count/hek/called_barcodes.tsv", sep="\t")
    assert 260 <= len(called) <= 290

    expected = source / "expected-kb/cells_x_genes"
    counts = io.mmread(
        expected.with_name("cells_x_genes.mtx.gz"), spmatrix=False
    ).tocsr()
    barcodes = read_lines(expected.with_name("cells_x_genes.barcodes.txt.gz"))
    kallisto = pd.Series(np.asarray(counts.sum(axis=1)).ravel(), index=barcodes)
    ours = called.set_index("barcode")["total_counts"]
    shared = ours.index.intersection(kallisto.index)
    r = np.corrcoef(ours[shared], kallisto[shared])[0, 1]
    print(f"cells {len(called)}, shared {len(shared)}, r {r:.4f}")
    assert len(shared) >= 250
    assert r >= 0.99


def test_pbmc_reads_on_two_lanes(tmp_path):
    stem = "Chromium_3p_GEX_Human_PBMC_chr21_100000_S1_L00{}_R{}_001.fastq.gz"
    folder = DATA / "reads-10xv3-pbmc-chr21"
    lanes = [
        [str(folder / stem.format(lane, mate)) for mate in (1, 2)] for lane in (1, 2)
    ]
    results = run(
        tmp_path,
        samples=pd.DataFrame({"sample": ["pbmc"]}),
        reads=pd.DataFrame(lanes, columns=["fastq_1", "fastq_2"]).assign(sample="pbmc"),
        prepare_whitelist={
            "3M-february-2018": str(DATA / "whitelists/10xv3_whitelist.txt.gz")
        },
        # four fifths of this genome are masked: few reads can map to it
        filter_cells={"set_aside_when_failing": ["valid_barcodes"]},
    )
    metrics = json.loads((results / "count/pbmc/metrics.json").read_text())
    print({name: metric["value"] for name, metric in metrics.items()})
    assert metrics["number_of_reads"]["value"] == 200_000
    assert 94 <= metrics["valid_barcodes"]["value"] <= 95


def barcodes_and_umis(bam):
    """Return corrected barcode and UMI of every read, "" for none."""
    found = {}
    with pysam.AlignmentFile(bam, check_sq=False) as reads:
        for read in reads.fetch(until_eof=True):
            tags = dict(read.get_tags())
            # Cell Ranger ends barcodes in -1, STAR writes a dash for none
            found[read.query_name] = tuple(
                tags.get(name, "").split("-")[0] for name in ("CB", "UB")
            )
    return found


def test_barcodes_against_cell_ranger(tmp_path):
    source = DATA / "reads-10x-cellranger-tiny"
    target = "results/count/tiny/Aligned.sortedByCoord.out.bam"
    reads = source / "tiny120_S1_L001_R{}_001.fastq.gz"
    row = {f"fastq_{number}": [str(reads).format(number)] for number in (1, 2)}
    run(
        tmp_path,
        target,
        samples=pd.DataFrame({"sample": ["tiny"]}),
        reads=pd.DataFrame({"sample": ["tiny"]} | row),
        prepare_whitelist={
            "737K-august-2016": str(DATA / "whitelists/10xv2_whitelist.txt.gz")
        },
        # the rule of Cell Ranger 1 and 2; 3 and later correct Ns and single hits too
        count_reads={"bam": "bam", "soloCBmatchWLtype": "1MM_multi"},
    )
    ours = barcodes_and_umis(tmp_path / target)
    theirs = barcodes_and_umis(source / "cr12.bam")
    assert len(theirs) == len(ours) == 5000
    same = [name for name in theirs if ours[name][0] == theirs[name][0]]
    with_barcode = [name for name in theirs if theirs[name][0]]
    same_umi = [name for name in with_barcode if ours[name][1] == theirs[name][1]]
    print(f"barcodes {len(same)} of 5000, UMIs {len(same_umi)} of {len(with_barcode)}")
    assert len(same) == 5000
    assert len(same_umi) == len(with_barcode) == 4898


def test_sorted_blood_cells(tmp_path):
    source = DATA / "counts-zheng-facs-pbmc"
    results = run(
        tmp_path,
        samples=pd.DataFrame({"sample": ["zheng"], "counts": [str(source)]}),
    )
    adata = ad.read_h5ad(results / "report/reads2cells.h5ad")
    cells = adata.obs
    truth = pd.read_csv(source / "cells.tsv.gz", sep="\t", index_col="cell")
    truth = truth.loc[[name.removesuffix("-zheng") for name in cells.index]]
    ari = adjusted_rand_score(truth["subpop"], cells["leiden"])
    print(f"cells {len(cells)}, clusters {cells['leiden'].nunique()}, ARI {ari:.3f}")
    assert len(cells) >= 0.8 * 3774
    assert ari >= 0.80
    # both levels of the sorting are somewhere in the tree
    levels = adata.obsm["leiden_by_resolution"].T
    table = pd.read_csv(results / "clusters/resolutions.tsv", sep="\t")
    for column in ("subpop", "celltype"):
        table[column] = [adjusted_rand_score(truth[column], at) for at in levels]
    print(table.round(3).to_string())
    assert table["subpop"].max() >= 0.80
    assert table["celltype"].max() >= 0.69


def test_doublets_among_hashed_cells(tmp_path):
    source = DATA / "counts-hashing-doublets"
    results = run(
        tmp_path,
        "results/cells/hashed/doublets.tsv",
        samples=pd.DataFrame({"sample": ["hashed"], "counts": [str(source)]}),
    )
    found = pd.read_csv(results / "cells/hashed/doublets.tsv", sep="\t", index_col=0)
    truth = pd.read_csv(source / "cells.tsv.gz", sep="\t", index_col="cell")
    truth = truth.loc[[name.removesuffix("-hashed") for name in found.index]]
    counts = ad.read_h5ad(results / "cells/hashed/called.h5ad")
    sc.pp.scrublet(counts, random_state=0, verbose=False)
    known = (truth["hto_classification_global"] != "Negative").to_numpy()
    is_doublet = (truth["hto_classification_global"] == "Doublet")[known]
    ours, plain = (
        roc_auc_score(is_doublet, scores.to_numpy()[known])
        for scores in (found["doublet_score"], counts.obs["doublet_score"])
    )
    print(f"doublets {is_doublet.sum()}, AUROC {ours:.3f}, Scrublet {plain:.3f}")
    assert is_doublet.sum() > 200
    assert ours > max(plain, 0.61)


def test_cells_among_all_droplets_of_a_given_matrix(tmp_path):
    results = run(
        tmp_path,
        "results/cells/mbrain/cells.h5ad",
        samples=pd.DataFrame(
            {
                "sample": ["mbrain"],
                "counts": [str(DATA / "counts-raw-droplets-mbrain")],
            }
        ),
        load_cells={"mito_pattern": "^mt-"},
    )
    calling = json.loads((results / "count/mbrain/calling.json").read_text())
    print(calling["n_called"], calling["evidence"])
    assert 100 <= calling["n_called"] <= 300
    assert calling["matrix"] == "all droplets"
    assert calling["barcodes_seen"] == 16_038
    assert "holds empty droplets" in calling["evidence"][0]
    callers = pd.read_csv(results / "count/mbrain/callers.tsv", sep="\t")
    assert len(callers) >= 2
    ranks = pd.read_csv(results / "count/mbrain/barcode_ranks.tsv", sep="\t")
    assert ranks["rank"].max() == 16_038
    ambient = json.loads((results / "cells/mbrain/ambient.json").read_text())
    assert ambient["n_empty_droplets"] > 10_000
    ledger = pd.read_csv(results / "cells/mbrain/ledger.tsv", sep="\t")
    assert ledger["remaining"].iloc[0] == 16_038
    kept = ad.read_h5ad(results / "cells/mbrain/cells.h5ad").n_obs
    assert ledger["remaining"].iloc[-1] == kept


def split_by_sample(source, target):
    """Write one mtx folder per donor and condition; return the sample sheet."""
    counts = io.mmread(source / "matrix.mtx.gz", spmatrix=False).tocsc()
    cells = pd.read_csv(source / "cells.tsv.gz", sep="\t", dtype=str)
    barcodes = np.array(read_lines(source / "barcodes.tsv.gz"))
    assert (cells["cell"] == barcodes).all()
    rows = []
    for (donor, condition), part in cells.groupby(["donor", "condition"]):
        folder = target / f"{donor}_{condition}"
        folder.mkdir(parents=True)
        io.mmwrite(folder / "matrix.mtx", counts[:, part.index])
        text = "".join(f"{name.split('_')[-1]}\n" for name in part["cell"])
        (folder / "barcodes.tsv").write_text(text)
        shutil.copy(source / "features.tsv.gz", folder)
        rows.append((folder.name, str(folder), condition, donor))
    return pd.DataFrame(rows, columns=["sample", "counts", "condition", "donor"])


def test_interferon_response_of_eight_donors(tmp_path):
    source = DATA / "counts-kang-ifnb-8donors"
    samples = split_by_sample(source, tmp_path / "counts")
    assert len(samples) == 16
    results = run(
        tmp_path,
        samples=samples,
        design={
            "formula": "~ donor + condition",
            "contrasts": {"stim_vs_ctrl": ["condition", "stim", "ctrl"]},
        },
    )
    found = pd.read_csv(results / "compare/expression.tsv", sep="\t")
    found = found[found["cell_type"] == "all"].set_index("gene_name")[
        "log2_fold_change"
    ]
    table = source / "table.S1.differential.expression.analysis.singlecell.xlsx"
    published = pd.read_excel(table, sheet_name="cd14")
    published = published.dropna(subset=["featureData.symbol", "log2FoldChange"])
    published = published.drop_duplicates("featureData.symbol")
    published = published.set_index("featureData.symbol")["log2FoldChange"]
    shared = found.index.intersection(published.index)
    r = np.corrcoef(found[shared], published[shared])[0, 1]
    print(f"genes {len(shared)}, r {r:.3f}")
    assert len(shared) >= 500
    assert r >= 0.9
