"""A few jobs through a real SLURM, in a minute."""

import json

import anndata as ad
import pytest
from cluster import emulated

from simulated_counts import Plan, make_profiles, simulate_sample

PLAN = Plan(n_genes=500, n_types=3, median_counts=1000)
PROFILES = make_profiles(PLAN, seed=1)


@pytest.fixture
def counted(tmp_path):
    """Two samples that enter with counts."""
    (tmp_path / "config").mkdir()
    rows = ["sample\tcondition\tcounts"]
    for seed, name in enumerate(["a", "b"], start=1):
        adata = simulate_sample(
            PLAN,
            make_profiles(PLAN, seed=1),
            sample=name,
            batch=0,
            n_cells=150,
            seed=seed,
        )
        adata.obs = adata.obs[[]].copy()
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        rows.append(f"{name}\t{name}\t../{name}.h5ad")
    (tmp_path / "config/samples.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_two_samples_become_two_jobs_each(cluster, submit, counted):
    files = [f"results/cells/{sample}/verdict.json" for sample in "ab"]
    submit(counted, *files)
    for file in files:
        assert json.loads((counted / file).read_text())["verdict"] == "kept"
    assert ad.read_h5ad(counted / "results/cells/a/cells.h5ad").n_obs > 50
    # the caller, and the steps from there on as one job
    assert cluster.counted()["sbatch"] == 4


def test_a_machine_with_a_slurm_of_its_own_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr(emulated.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(emulated.os, "geteuid", lambda: 0)
    monkeypatch.setattr(emulated, "OWN_SLURM", tmp_path / "slurm.conf")
    assert emulated.reason_against() == ""
    emulated.OWN_SLURM.touch()
    assert "SLURM of its own" in emulated.reason_against()
    monkeypatch.setattr(emulated.os, "geteuid", lambda: 1000)
    assert "root" in emulated.reason_against()
    monkeypatch.setattr(emulated.shutil, "which", lambda name: None)
    assert "slurm-wlm" in emulated.reason_against()
