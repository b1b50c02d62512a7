"""Barcodes as numbers: two bits a base behind a leading 1, so lengths never mix."""

from pathlib import Path

import numpy as np

LONGEST = 31
BASES = np.frombuffer(b"ACGT", np.uint8)
# the number of every letter; 4: no base
DIGITS = np.full(256, 4, np.uint8)
DIGITS[BASES] = np.arange(4)
DIGITS[np.frombuffer(b"acgt", np.uint8)] = np.arange(4)


def pack(digits: np.ndarray) -> np.ndarray:
    """Return one number per row of a matrix of digits; 0 where one is no base."""
    codes = np.ones(len(digits), np.uint64)
    for column in digits.T:
        codes = (codes << np.uint64(2)) | column
    codes[(digits > 3).any(axis=1)] = 0
    return codes


def reverse_complement(digits: np.ndarray) -> np.ndarray:
    """Return the digits of the other strand; 4 stays 4."""
    return np.array([3, 2, 1, 0, 4], np.uint8)[digits[:, ::-1]]


def is_in(codes: np.ndarray, packed: np.ndarray) -> np.ndarray:
    """Tell which numbers are in a sorted array; sorted questions spare the memory."""
    asked, back = np.unique(codes, return_inverse=True)
    places = np.minimum(np.searchsorted(packed, asked), len(packed) - 1)
    return (packed[places] == asked)[back]


def load_packed(path: Path) -> np.ndarray:
    """Return a list as sorted numbers.

    A prepared one (.npy) is not read: its pages come in as they are needed. A plain
    one, as they come with the workflow, is small.
    """
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    barcodes = path.read_bytes().split()
    codes = [pack(DIGITS[[list(barcode)]]) for barcode in barcodes]
    return np.sort(np.concatenate(codes))
