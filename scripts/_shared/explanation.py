"""What a run would do, why, and how long it may take: `snakemake explain`.

Snakemake says that the params of a job have changed, not which. It keeps their values;
here they are compared with those of now, and named as the configuration names them.
"""

import contextlib
import heapq
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _shared.earlier_jobs import Cost, expected
from _shared.param_changes import changes

TARGET = "explain"
# longer lists of names are cut
N_NAMED = 3


@dataclass(kw_only=True)
class Task:
    """A job that would run.

    Parameters
    ----------
    own
        Why, apart from jobs before it; empty where these alone are the reason.
    after
        Places of the jobs before it that run, too.
    """

    rule: str
    sample: str
    own: list[str]
    cost: Cost
    threads: int
    after: list[int] = field(default_factory=list)


def explained(execute: Callable[..., None], workflow: Any) -> Callable[..., None]:
    """Return `Workflow.execute` that tells of a run instead, where `explain` is asked.

    Further targets are those it tells of. All options count as for a run; nothing is
    locked or written.
    """

    def run(**options: Any) -> None:
        settings = workflow.dag_settings
        if TARGET not in settings.targets:
            execute(**options)
            return
        settings.targets = frozenset(settings.targets) - {TARGET}
        with contextlib.redirect_stdout(io.StringIO()):
            # the cheapest of what makes Snakemake look for what has to run
            workflow.printrulegraph()
        print(
            told(
                tasks_of(workflow.dag, workflow.globals["config"]),
                n_jobs=sum(bool(job.output) for job in workflow.dag.jobs),
                cores=workflow.resource_settings.cores or 1,
            )
        )

    return run


def own_reasons(job: Any, dag: Any) -> dict[str, Any]:
    """Return why a job runs, apart from jobs before it, by the kind of the reason.

    Snakemake itself does not look below the first job that runs.
    """
    records, said = dag.workflow.persistence, dag.reason(job)
    missing = [file for file in job.output if not Path(file).exists()]
    if not records.has_metadata(job):
        return {"new": True}
    if missing:
        return {"lost": missing}
    before, now = records.input(job.output[0]) or [], records._input(job)
    found = {
        "incomplete": list(said._incomplete_output or []),
        "params": records.params_changed(job),
        "code": bool(said.code_changed or any(records.code_changed(job))),
        "input": sorted(set(before) ^ set(now)),
        "file": sorted(said.updated_input),
        "environment": any(records.software_stack_changed(job)),
    }
    return {kind: value for kind, value in found.items() if value}


def _sentences(job: Any, reasons: dict[str, Any], config: dict) -> list[str]:
    """Return why a job runs for a reader: keys of the config, files, code."""
    said = []
    for kind, found in reasons.items():
        if kind == "new":
            said.append("it has not run yet")
        elif kind == "lost":
            said.append(f"results are missing: {_some(found)}")
        elif kind == "incomplete":
            said.append("it was interrupted")
        elif kind == "params":
            now = {
                name: value
                for name, value in job.params.items()
                if repr(value) in found.only_new
            }
            said += changes(found.only_old, now, rule=job.rule.name, config=config)
        elif kind == "code":
            said.append("its script is newer than its results")
        elif kind == "environment":
            said.append("its software environment is another one")
        elif kind == "input":
            said.append(f"files go in, or no longer do: {_some(found)}")
        else:
            said.append(f"files have changed: {_some(found)}")
    return said


def _some(names: list) -> str:
    shown = ", ".join(map(str, names[:N_NAMED]))
    left = len(names) - N_NAMED
    return f"{shown} and {left} more" if left > 0 else shown


def tasks_of(dag: Any, config: dict) -> list[Task]:
    """Return the jobs that would run, those first that others wait for."""
    jobs = [
        job
        for level in dag.toposorted()
        for job in sorted(level, key=str)
        if dag.needrun(job) and job.output
    ]
    place = {job: number for number, job in enumerate(jobs)}
    return [
        Task(
            rule=job.rule.name,
            sample=job.wildcards_dict.get("sample", ""),
            own=_sentences(job, own_reasons(job, dag), config),
            cost=expected(
                Path(str(job.benchmark)),
                rule=job.rule.name,
                inputs=[Path(file) for file in job.input],
                limits=(_number(job, "runtime"), _number(job, "mem_mb")),
            ),
            threads=job.threads,
            after=[place[other] for other in dag.dependencies[job] if other in place],
        )
        for job in jobs
    ]


def _number(job: Any, resource: str) -> float | None:
    """Return a resource of a job, None where files before it must be there to tell."""
    amount = job.resources.get(resource)
    return amount if isinstance(amount, int | float) else None


def finish_times(tasks: list[Task], *, cores: int | None = None) -> list[float]:
    """Return when each task is done, on so many cores, or on as many as it takes.

    Whatever is ready starts at once, the longest first, as Snakemake does.
    """
    done = [0.0] * len(tasks)
    now, free = 0.0, cores or sum(task.threads for task in tasks)
    lacking = [len(set(task.after)) for task in tasks]
    followers: list[list[int]] = [[] for _ in tasks]
    for n, task in enumerate(tasks):
        for before in set(task.after):
            followers[before].append(n)
    # the longest first
    ready = [(-(t.cost.seconds or 0), n) for n, t in enumerate(tasks) if not t.after]
    heapq.heapify(ready)
    running: list[tuple[float, int, int]] = []
    while ready or running:
        too_wide = []
        while ready and free:
            seconds, n = heapq.heappop(ready)
            threads = min(tasks[n].threads, cores or tasks[n].threads)
            if threads > free:
                too_wide.append((seconds, n))
                continue
            free -= threads
            heapq.heappush(running, (now - seconds, n, threads))
        for waiting in too_wide:
            heapq.heappush(ready, waiting)
        now, n, threads = heapq.heappop(running)
        free += threads
        done[n] = now
        for after in followers[n]:
            lacking[after] -= 1
            if not lacking[after]:
                heapq.heappush(ready, (-(tasks[after].cost.seconds or 0), after))
    return done


def minutes(seconds: float) -> str:
    """Return a time as a person says it."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def gigabytes(megabytes: float) -> str:
    """Return an amount of memory as a person says it."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 950 else f"{megabytes:.0f} MB"


def _line_of(rule: str, tasks: list[Task], of_rule: dict[int, str]) -> str:
    """Return the line of a rule: for which samples, how long, how much, and why."""
    samples = sorted({task.sample for task in tasks} - {""})
    known = [t.cost.seconds for t in tasks if t.cost.seconds is not None]
    limits = [t.cost.limit_seconds for t in tasks if t.cost.seconds is None]
    time = minutes(sum(known)) if known else ""
    if any(limits):
        limit = f"at most {minutes(max(filter(None, limits)))} each"
        time = f"{time}, {limit}" if time else limit
    # of files that are not there yet Snakemake cannot tell it
    memory = max((t.cost.megabytes or 0 for t in tasks), default=0)
    room = gigabytes(memory) if memory else "not known yet"
    own = list(dict.fromkeys(sentence for task in tasks for sentence in task.own))
    before = dict.fromkeys(of_rule[n] for task in tasks for n in task.after)
    why = [f"because {sentence}" for sentence in own]
    why = why or [f"follows {_some(list(before))}"]
    about = [
        f"  {rule}" + (f" ({len(tasks)}: {_some(samples)})" if samples else ""),
        f"    time {time or 'not known yet'}; memory {room}",
        *(f"    {sentence}" for sentence in why[:N_NAMED]),
    ]
    if len(why) > N_NAMED:
        about.append(f"    and for {len(why) - N_NAMED} more reasons")
    return "\n".join(about)


def told(tasks: list[Task], *, n_jobs: int, cores: int) -> str:
    """Return what would run, rule by rule, and what it comes to."""
    if not tasks:
        return (
            "Nothing would run: all results are there, made from these files, this "
            "configuration and this code."
        )
    of_rule = {n: task.rule for n, task in enumerate(tasks)}
    by_rule: dict[str, list[Task]] = {}
    for task in tasks:
        by_rule.setdefault(task.rule, []).append(task)
    lines = [
        f"{len(tasks)} of {n_jobs} jobs would run, of {len(by_rule)} rules. Nothing "
        "has been started.",
        "",
        *(_line_of(rule, of, of_rule) for rule, of in by_rule.items()),
        "",
    ]
    unknown = [
        rule for rule, of in by_rule.items() if any(t.cost.seconds is None for t in of)
    ]
    if len(unknown) < len(by_rule):
        work = sum(task.cost.seconds or 0 for task in tasks)
        lines.append(
            f"In all about {minutes(max(finish_times(tasks, cores=cores)))} on {cores} "
            f"{'core' if cores == 1 else 'cores'}: {minutes(work)} of work, of which "
            f"{minutes(max(finish_times(tasks)))} are jobs that wait for each other."
        )
        lines.append(
            "That is what earlier jobs took in this folder (benchmarks/), by the size "
            "of what goes in."
        )
    if unknown:
        lines.append(
            f"No earlier job tells of {_some(unknown)}: there stands what a job may "
            "take at most."
        )
    most = max(tasks, key=lambda task: task.cost.megabytes or 0)
    if most.cost.megabytes:
        lines.append(
            f"The most memory takes {most.rule}: {gigabytes(most.cost.megabytes)}."
        )
    return "\n".join(lines)
