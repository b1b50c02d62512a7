"""A few jobs through a real SLURM, in a minute."""

import json

import anndata as ad
from cluster import emulated


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
