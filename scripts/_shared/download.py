"""Files from the network: resumed where they broke off, checked while written."""

import errno
import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from _shared.logs import UserError

logger = logging.getLogger("download")

# seconds without a byte after which a connection is given up
TIMEOUT = 60
# seconds before each further attempt; an attempt that brought bytes starts them anew
PAUSES = (1, 5, 20, 60)
CHUNK = 1 << 20
# answers of a server that may be another one soon
BUSY = {408, 416, 425, 429, 500, 502, 503, 504}
NETWORK = (OSError, http.client.HTTPException)


class NotThereError(UserError):
    """The server answers, and has no such thing."""


def told(error: Exception) -> str:
    """Return what a network error says, in few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}".strip()
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split()).rstrip(".") or type(error).__name__


def open_url(url: str, *, start: int = 0) -> http.client.HTTPResponse:
    """Ask for what is behind `url`, from byte `start` on.

    Raises
    ------
    NotThereError
        For an answer that will not change.
    OSError
        For all that may be mended by another attempt.
    """
    headers = {"User-Agent": "reads2cells"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in BUSY:
            raise
        raise NotThereError(f"{url}: the server says {told(error)}.") from None


def with_patience[T](
    attempt: Callable[[str], T], *, urls: list[str], progress: Callable[[], int]
) -> T:
    """Return `attempt(url)`, tried at each address, and again after each pause.

    Parameters
    ----------
    urls
        Addresses of the same thing.
    progress
        Tells how much is here; more than before makes the pauses start anew.

    Raises
    ------
    UserError
        When the pauses are used up.
    """
    pauses, before = iter(PAUSES), progress()
    while True:
        for url in urls:
            try:
                return attempt(url)
            except NETWORK as error:
                failed = f"{url}: cannot be fetched ({told(error)})"
        if progress() > before:
            pauses, before = iter(PAUSES), progress()
        pause = next(pauses, None)
        if pause is None:
            raise UserError(
                f"{failed}; check the network and run again, what is here already is "
                "kept."
            )
        logger.warning("%s; again in %g s", failed, pause)
        time.sleep(pause)


def read_text(url: str) -> str:
    """Return a short text from the network."""

    def attempt(url: str) -> str:
        with open_url(url) as response:
            return response.read().decode("utf-8", errors="replace")

    return with_patience(attempt, urls=[url], progress=lambda: 0)


class Part:
    """A file that grows, with its checksums; what is there already counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()
        path.touch()
        with path.open("rb") as handle:
            while chunk := handle.read(CHUNK):
                self._count(chunk)

    def _begin(self) -> None:
        self.size = 0
        self.sums = {
            "md5": hashlib.md5(usedforsecurity=False),
            "sha256": hashlib.sha256(),
        }

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        for digest in self.sums.values():
            digest.update(chunk)

    def restart(self) -> None:
        """Forget what is there."""
        self.path.write_bytes(b"")
        self._begin()

    def differs(self, sums: dict[str, str]) -> list[str]:
        """Return the kinds of checksum that are not as in `sums`."""
        return [
            kind for kind, value in sums.items() if self.sums[kind].hexdigest() != value
        ]

    def append(self, response: http.client.HTTPResponse) -> None:
        """Write an answer to its end.

        Raises
        ------
        ConnectionError
            If the answer is shorter than its header says.
        UserError
            If the file cannot be written.
        """
        length = response.headers.get("Content-Length")
        end = self.size + int(length or 0)
        with self.path.open("ab") as handle:
            while chunk := response.read(CHUNK):
                try:
                    handle.write(chunk)
                    handle.flush()
                except OSError as error:
                    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                    raise UserError(
                        f"{self.path}: cannot be written ({told(error)}); "
                        f"{'make room' if is_full else 'mend that'} and run again, "
                        "what is here already is kept."
                    ) from None
                self._count(chunk)
        if self.size < end:
            raise ConnectionError(f"broken off after {self.size} of {end} bytes")


def download(urls: list[str], target: Path, *, sums: dict[str, str]) -> dict:
    """Fetch a file; nothing stands under `target` before its checksums are right.

    Until then it is `<target>.part`, from which a later call goes on. A file that is
    there from a former call is checked, and fetched again only if it is another one;
    without checksums to tell, what is there is continued, or fetched again if whole.

    Parameters
    ----------
    urls
        Addresses of the same file, tried in turn.
    sums
        Checksums that it must have: `md5`, `sha256` or both, hexadecimal; none for a
        file that the caller checks.

    Returns
    -------
    dict
        `file`, `url`, `bytes`, `md5`, `sha256`.

    Raises
    ------
    UserError
        If the file is not there, the network fails for long, or a checksum is wrong;
        a file with a wrong checksum is not kept.
    """
    path = target.with_name(f"{target.name}.part")
    if target.exists():
        target.rename(path)
    part = Part(path)
    used = urls[0]

    def attempt(url: str) -> None:
        nonlocal used
        try:
            response = open_url(url, start=part.size)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.restart()  # longer than the file: it was another one's
            raise
        used = url
        with response:
            # a server that does not know ranges sends the whole file
            if part.size and response.status != HTTPStatus.PARTIAL_CONTENT:
                part.restart()
            part.append(response)

    # what another file has left is seen at the end: then once more from the start
    resumed = part.size > 0
    if not resumed or not sums or part.differs(sums):
        with_patience(attempt, urls=urls, progress=lambda: part.size)
    if resumed and part.differs(sums):
        part.restart()
        with_patience(attempt, urls=urls, progress=lambda: part.size)
    if wrong := part.differs(sums):
        part.path.unlink()
        raise UserError(
            f"{used}: its {wrong[0]} is {part.sums[wrong[0]].hexdigest()} and should "
            f"be {sums[wrong[0]]}; the file was not kept. Run again; if that does not "
            "help, fetch it by hand from a source that you trust."
        )
    part.path.rename(target)
    logger.info("%s: %d bytes, checksum right", target.name, part.size)
    found = {kind: digest.hexdigest() for kind, digest in part.sums.items()}
    return {"file": target.name, "url": used, "bytes": part.size, **found}
