"""Why STAR failed, and what to do about it, in one sentence."""

import re

# what STAR's exit codes mean, and what to do (IncludeDefine.h of STAR 2.7.10b)
EXIT_CODES = {
    102: ("refused a parameter", "mend the section count_reads of the config"),
    103: ("failed while running", "read the log, and run again"),
    104: ("could not use the reads", "check that no file changed while it was read"),
    105: (
        "could not use the index",
        "remove results/reference/star_index, so that it is built again",
    ),
    109: (
        "could not open a file",
        "check that it is there, the space on the disk and the limit of open files "
        "(ulimit -n)",
    ),
}
DISK_FULL = "free space on the disk of results/count, and the same command goes on"
KILL, FILE_SIZE = 9, 25
REASONS = "exiting:|exiting because|not enough memory|no space left|bad_alloc"


def own_words(said: str) -> str:
    """Return the line in which STAR says why it stopped, "" if it did not."""
    found = re.search(rf"^.*(?:{REASONS}).*$", said, re.MULTILINE | re.IGNORECASE)
    # what went before the reason is the place in STAR's source
    line = re.sub(r"^\S+\.cpp:\d+:\w+: ", "", found[0].strip()) if found else ""
    return " ".join(line.split()).rstrip(".:;")


def failure(code: int, said: str, *, mem_mb: int) -> str:
    """Return in one sentence why STAR failed and what to do.

    Parameters
    ----------
    code
        Exit code; a signal is negative, or 128 more where a shell stands between.
    said
        What STAR wrote to its log and to stderr.
    mem_mb
        Memory that the job asked for.
    """
    line = own_words(said)
    quoted = f" ({line})" if line else ""
    signal = -code if code < 0 else code - 128
    if signal == KILL or "bad_alloc" in said or code == 108:
        return (
            f"STAR was ended for want of memory{quoted}: the job asked for {mem_mb} "
            "MB; let it ask for more: snakemake --set-resources "
            f"count_reads:mem_mb={2 * mem_mb}."
        )
    if signal == FILE_SIZE or code == 110 or "No space left on device" in said:
        return f"STAR could not write its files{quoted}; {DISK_FULL}."
    if "enough memory for BAM sorting" in said:
        what, hint = (
            "lacks memory to sort the alignments",
            f"snakemake --set-resources count_reads:mem_mb={2 * mem_mb}",
        )
    elif signal > 0:
        what, hint = (f"was ended by signal {signal}", "read the log, and run again")
    else:
        what, hint = EXIT_CODES.get(code, EXIT_CODES[103])
    return f"STAR {what} (exit code {code}){quoted}; {hint}."
