"""Reads and counts in object storage, from a server on loopback."""

import os
import shutil
import socket
import subprocess

import pytest
from cluster.emulated import free_ports, wait_until
from cluster.packages import python_with
from running import ROOT, environment

pytestmark = pytest.mark.skipif(
    not os.environ.get("CLUSTER"), reason="takes minutes: make test-cluster"
)
PACKAGES = ["snakemake-storage-plugin-s3==0.3.6", "moto[server]==5.2.5"]
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
KEYS |= {"AWS_DEFAULT_REGION": "us-east-1"}
KEYS |= {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "x", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "x"}
UPLOAD = """\
import sys

import boto3

url, *files = sys.argv[1:]
client = boto3.client("s3", endpoint_url=url)
client.create_bucket(Bucket="lab")
for file in files:
    client.upload_file(file, "lab", file)
"""


@pytest.fixture(scope="module")
def python():
    """A Python whose Snakemake can fetch from S3, and that has a server of it."""
    return python_with("snakemake_storage_plugin_s3", *PACKAGES, folder="s3")


@pytest.fixture
def server(python, tmp_path):
    """A server of S3; its address."""
    [port] = free_ports(1)
    command = [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, "a server of S3", seconds=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_reads_and_counts_come_from_storage(python, server, tmp_path):
    folder = tmp_path / "run"
    simulator = [python, str(ROOT / "tests/demo/simulate.py"), str(folder)]
    subprocess.run([*simulator, "--size", "small"], check=True, env=environment())
    shutil.copy(folder / "truth/counts.h5ad", folder / "given.h5ad")
    reads = sorted(
        str(path.relative_to(folder)) for path in folder.glob("reads/d1_ctrl/*.gz")
    )
    env = {**environment(), **KEYS, "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": server}
    upload = [python, "-c", UPLOAD, server, *reads, "given.h5ad"]
    subprocess.run(upload, cwd=folder, env=env, check=True)
    for file in (*reads, "given.h5ad"):
        (folder / file).unlink()
    sheet = folder / "config/reads.tsv"
    sheet.write_text(
        sheet.read_text().replace("../reads/d1_ctrl/", "s3://lab/reads/d1_ctrl/")
    )
    sheet = folder / "config/samples.tsv"
    header, *rows = sheet.read_text().splitlines()
    rows = [f"{header}\tcounts", *(f"{row}\t" for row in rows)]
    rows.append("given\tctrl\td4\ts3://lab/given.h5ad")
    sheet.write_text("\n".join(rows) + "\n")
    wanted = ["results/count/d1_ctrl/Log.final.out", "results/cells/given/called.h5ad"]
    command = [python, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "2", *wanted]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    assert all((folder / file).exists() for file in wanted)
    assert not (folder / reads[0]).exists()
