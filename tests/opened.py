"""A page in a headless browser that notes all that it says and asks for."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import anndata as ad
import pandas as pd
from browser import BROWSER
from playwright.sync_api import Browser, Locator, Page, sync_playwright

# software drawing alone, so that pictures are the same on every machine
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
OPTIONS += ["--disable-gpu-compositing", "--disable-dev-shm-usage"]
OWN = ("file:", "data:", "blob:")
OPEN_ALL = "document.querySelectorAll('details').forEach(part => { part.open = true; })"
FRAMES = """() => new Promise((done) =>
  requestAnimationFrame(() => requestAnimationFrame(done)))"""


@dataclass
class Opened:
    """A page, the folder of the run that it tells of, and what was heard of it."""

    page: Page
    run: Path
    heard: list[str] = field(default_factory=list)

    @cached_property
    def cells(self) -> ad.AnnData:
        """The object of the run."""
        return ad.read_h5ad(self.run / "results/report/reads2cells.h5ad")

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the run as text, "" where a cell is empty."""
        path = self.run / "results" / name
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)

    def open_all(self) -> None:
        """Open what is folded, pass by tables that get more rows; let the page draw."""
        self.page.evaluate(OPEN_ALL)
        tables = "table[data-all-rows]"
        for name in self.page.eval_on_selector_all(tables, "all => all.map(a => a.id)"):
            self.page.locator(f"#{name}").scroll_into_view_if_needed()
        self.page.wait_for_function(f"() => !document.querySelector('{tables}')")
        self.wait()

    def wait(self) -> None:
        """Wait until two more frames are drawn."""
        self.page.evaluate(FRAMES)

    def saved(self, button: Locator) -> tuple[str, bytes]:
        """Click a button that saves a file; return the file's name and content."""
        with self.page.expect_download() as waiting:
            button.click()
        file = waiting.value
        return file.suggested_filename, Path(file.path()).read_bytes()

    def saved_table(self, button: Locator) -> pd.DataFrame:
        """Return a saved CSV as text."""
        name, content = self.saved(button)
        assert name.endswith(".csv"), name
        header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
        return pd.DataFrame(rows, columns=header, dtype=str)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the installed browser."""
    with sync_playwright() as play:
        shell = play.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        try:
            yield shell
        finally:
            shell.close()


@contextmanager
def opened(
    shell: Browser,
    file: Path,
    run: Path,
    *,
    width: int = 1280,
    scheme: str = "light",
) -> Iterator[Opened]:
    """Show a page by itself: light or dark, `width` pixels wide."""
    context = shell.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        accept_downloads=True,
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    seen = Opened(page, run)
    page.on("console", lambda said: seen.heard.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: seen.heard.append(f"error: {error}"))
    page.on("request", lambda asked: note_request(seen, asked.url))

    def dismiss(dialog) -> None:
        seen.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", dismiss)
    page.goto(file.as_uri())
    try:
        yield seen
    finally:
        context.close()


def note_request(seen: Opened, url: str) -> None:
    if not url.startswith(OWN):
        seen.heard.append(f"request: {url}")
