"""What jobs cost, by the benchmarks that Snakemake wrote of earlier ones."""

import ast
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MEGABYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time and memory of a job; None where no earlier job tells.

    Parameters
    ----------
    limit_seconds
        What it may take at most.
    megabytes
        Of memory: measured, or reserved where it is not.
    """

    seconds: float | None
    limit_seconds: float | None
    megabytes: float | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Seconds and megabytes of memory of an earlier job, and of each file it read."""

    seconds: float
    memory: float | None
    inputs: dict[str, float]


@cache
def read_benchmark(path: Path) -> Benchmark | None:
    """Return the last line of a benchmark; None where none can be read."""
    try:
        with path.open(newline="") as file:
            *_, last = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        memory = last["max_rss"]
        return Benchmark(
            seconds=float(last["s"]),
            # of a job that was over before it could be measured
            memory=None if memory in ("NA", "-") else float(memory),
            inputs=ast.literal_eval(last.get("input_size_mb") or "{}"),
        )
    except (OSError, ValueError, TypeError, KeyError, SyntaxError):
        return None


def growth(before: Benchmark, inputs: Sequence[Path]) -> float:
    """Return how much more goes in than before; 1 where that cannot be told."""
    now = [path for path in inputs if path.is_file()]
    if not now or len(now) < len(inputs) or not before.inputs:
        return 1.0
    then = sum(before.inputs.values())
    return sum(path.stat().st_size for path in now) / MEGABYTE / then if then else 1.0


def expected(
    benchmark: Path,
    *,
    rule: str,
    inputs: Sequence[Path],
    limits: tuple[float | None, float | None],
) -> Cost:
    """Return what a job will take: by its own earlier run, else by others of its rule.

    Parameters
    ----------
    benchmark
        Where the job writes what it took.
    limits
        Minutes and megabytes that are reserved for it.
    """
    folder = benchmark.parent if benchmark.parent.name == rule else None
    paths = [benchmark] if benchmark.exists() or not folder else folder.glob("*.tsv")
    earlier = [found for path in paths if (found := read_benchmark(path))]
    limit, reserved = limits
    if not earlier:
        return Cost(
            seconds=None,
            limit_seconds=60 * limit if limit else None,
            megabytes=reserved,
        )
    factors = [growth(before, inputs) for before in earlier]
    times = [of.seconds * factor for of, factor in zip(earlier, factors, strict=True)]
    memory = [
        # a program takes some memory however little goes in
        of.memory * max(factor, 1)
        for of, factor in zip(earlier, factors, strict=True)
        if of.memory is not None
    ]
    return Cost(
        seconds=sorted(times)[len(times) // 2],
        limit_seconds=None,
        megabytes=max(memory, default=reserved),
    )
