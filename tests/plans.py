"""What Snakemake would run, asked of one process for all plans.

That takes a quarter of a second; a call of Snakemake takes two to start.
"""

import contextlib
import ctypes
import functools
import io
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import snakemake.executors.touch
from running import ROOT
from snakemake.api import SnakemakeApi
from snakemake.io import is_flagged
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecutionSettings,
    OutputSettings,
    Quietness,
    ResourceSettings,
)

from _shared.explanation import own_reasons

# of Linux, in <linux/prctl.h>
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Plan:
    """Jobs as (rule, sample), the sample "" for a rule of all.

    Parameters
    ----------
    jobs
        All that the targets need.
    own
        Those that run for a reason of their own, and these reasons.
    again
        Those that run.
    """

    jobs: set[tuple[str, str]] = field(default_factory=set)
    own: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    again: set[tuple[str, str]] = field(default_factory=set)

    def rules(self) -> set[str]:
        """Return the rules that run for a reason of their own."""
        return {rule for rule, _ in self.own}


@functools.cache
def _other_process():
    """Return a process of its own: Snakemake leaves files open, and paths changed."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_end_with_parent)


def _end_with_parent():
    """Be killed when the tests are."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def plan(folder: Path, *targets: str, cores: int = 2, **config) -> Plan:
    """Return what would run in a folder with some keys of the config replaced."""
    return _other_process().submit(_plan, folder, targets, cores, config).result()


def finish(folder: Path, *targets: str) -> None:
    """Leave a folder as a run leaves it, with outputs that hold nothing."""
    _other_process().submit(_finish, folder, targets).result()


def _plan(folder, targets, cores, config):
    with _workflow(folder, targets, cores, config) as (dag, workflow):
        with contextlib.redirect_stdout(io.StringIO()):
            # the cheapest of what makes Snakemake look what has to run
            dag.printrulegraph()
        return _as_plan(workflow.dag)


def _finish(folder, targets):
    with _workflow(folder, targets, 2, {}) as (dag, workflow):
        with contextlib.redirect_stdout(io.StringIO()):
            dag.printrulegraph()
        for job in workflow.dag.jobs:
            for file in job.output:
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                if is_flagged(file, "directory"):
                    path.mkdir(exist_ok=True)
                else:
                    path.touch()
    # files have times in nanoseconds
    snakemake.executors.touch.Executor.SLEEPING_TIME = 0.002
    with _workflow(folder, targets, 2, {}, forceall=True) as (dag, _):
        dag.execute_workflow(executor="touch", execution_settings=ExecutionSettings())


@contextlib.contextmanager
def _workflow(folder, targets, cores, config, *, forceall=False):
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        flow = api.workflow(
            resource_settings=ResourceSettings(cores=cores),
            config_settings=ConfigSettings(config=config),
            snakefile=ROOT / "Snakefile",
            workdir=folder,
        )
        try:
            dag = flow.dag(DAGSettings(targets=set(targets), forceall=forceall))
        except SystemExit as refused:
            # that would end the other process
            raise ValueError(str(refused)) from None
        yield dag, flow._workflow


def _as_plan(dag) -> Plan:
    found = Plan()
    for job in dag.jobs:
        if not job.output:
            continue
        key = job.rule.name, job.wildcards_dict.get("sample", "")
        found.jobs.add(key)
        if dag.needrun(job):
            found.again.add(key)
            if reasons := own_reasons(job, dag):
                found.own.setdefault(key, set()).update(reasons)
    return found
