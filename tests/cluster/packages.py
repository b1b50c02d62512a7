"""Packages that only some tests need, beside those of this Python."""

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path


def python_with(module: str, *options: str, folder: str) -> str:
    """Return this Python if it has a module, else one with its packages and others.

    Those are not installed beside the rest: plugins make every start of Snakemake
    slower.

    Parameters
    ----------
    options
        What pip is to install.
    folder
        The folder below that of this Python where the other one is made, once, unless
        the environment names another, as by CLUSTER_VENV for `cluster`.
    """
    if importlib.util.find_spec(module):
        return sys.executable
    made = Path(os.environ.get(f"{folder.upper()}_VENV", f"{sys.prefix}/{folder}"))
    python = made / "bin/python"
    if not next(made.glob(f"lib/*/site-packages/{module}"), None):
        venv.create(made, clear=True)
        [packages] = made.glob("lib/*/site-packages")
        [base] = Path(sys.prefix).glob("lib/*/site-packages")
        (packages / "base.pth").write_text(f"{base}\n")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
        pip += ["--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *options], check=True)
    return str(python)
