"""Where the jobs of the workflow find their tools."""

import os
import sys
from pathlib import Path


def prefer_own_tools() -> None:
    """Put the tools beside this Python first on PATH.

    So that jobs find them also when Snakemake was called by its path, without its
    environment being activated; a conda environment of a rule goes before them.
    """
    own = str(Path(sys.executable).parent)
    paths = os.environ["PATH"].split(os.pathsep)
    if paths[0] != own:
        os.environ["PATH"] = os.pathsep.join([own, *paths])
