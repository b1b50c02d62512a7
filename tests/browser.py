"""A browser that shows a page without a network and tells what happened."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
needs_browser = pytest.mark.skipif(
    BROWSER is None,
    reason="no chromium or google-chrome on PATH: the page is not shown",
)


def show(page: Path, folder: Path, *options: str) -> SimpleNamespace:
    """Open a page without a network; return DOM, console messages and requests."""
    log = folder / "net.json"
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--disable-quic", "--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync", "--disable-extensions"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    command += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000"]
    # nobody listens there: a request that is tried fails, but stands in the log
    command += ["--proxy-server=127.0.0.1:9", *options, "--dump-dom", page.as_uri()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return SimpleNamespace(dom=done.stdout, console=console, urls=requested(log))


def requested(log: Path) -> set[str]:
    """Return the URLs in a net log that do not belong to the browser itself."""
    text = log.read_text(errors="replace")
    urls = re.findall(r'"url":"([^"]+)"', text)
    own = ("file:", "data:", "chrome:", "about:")
    makers = ("google.com", "googleapis.com", "gvt1.com", "gstatic.com")
    return {
        url
        for url in urls
        if not url.startswith(own) and not any(maker in url for maker in makers)
    }
