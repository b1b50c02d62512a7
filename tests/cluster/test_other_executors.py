"""The command of docs/cluster.md for other batch systems, as it stands there."""

import json
import os
import re
import subprocess

import pytest
from cluster.packages import python_with
from running import ROOT, environment

pytestmark = pytest.mark.skipif(
    not os.environ.get("CLUSTER"), reason="takes minutes: make test-cluster"
)
PLUGIN = "snakemake_executor_plugin_cluster_generic"
PACKAGE = "snakemake-executor-plugin-cluster-generic==1.0.9"
# notes what is asked for, and lets the job run beside it
QSUB = """\
#!/bin/bash
echo "$@" >>{folder}/qsub.calls
setsid bash "${{@: -1}}" >/dev/null 2>&1 </dev/null &
echo $!
"""
SNAKEMAKE = """\
#!/bin/bash
exec {python} -m snakemake --snakefile '{snakefile}' --directory {folder} "$@"
"""


def command_of_docs():
    """Return the command for a batch system with `qsub`."""
    text = (ROOT / "docs/cluster.md").read_text()
    [command] = re.findall(
        r"^snakemake --executor cluster-generic (?:.*\\\n)*.*", text, re.M
    )
    return command


@pytest.fixture
def run(counted, tmp_path):
    """A function that gives the command with more options; returns what was said."""
    python = python_with(PLUGIN, PACKAGE, folder="generic")
    tools = tmp_path / "tools"
    tools.mkdir()
    texts = {"qsub": QSUB, "snakemake": SNAKEMAKE}
    for name, text in texts.items():
        of = {"folder": counted, "python": python, "snakefile": ROOT / "Snakefile"}
        (tools / name).write_text(text.format(**of))
        (tools / name).chmod(0o755)
    path = f"{tools}{os.pathsep}{environment()['PATH']}"

    def started(*options):
        done = subprocess.run(
            ["bash", "-c", f"{command_of_docs()} {' '.join(options)}"],
            cwd=counted,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        return done.stdout + done.stderr

    return started


def test_jobs_go_through_the_command_with_what_they_ask_for(run, counted):
    file = "results/cells/a/verdict.json"
    calls = counted / "qsub.calls"
    assert "load_cells" in run("-n", file)
    assert not calls.exists()
    # this one answers at once
    run("--latency-wait 5", file)
    assert json.loads((counted / file).read_text())["verdict"] == "kept"
    asked = calls.read_text().splitlines()
    assert len(asked) >= 4
    for call in asked:
        assert re.match(r"-V -l ncpus=\d+,mem=\d+mb,walltime=00:\d+:00 /", call), call
