"""The inverse of the trigamma function, for moderated variances."""

from scipy import special

# of a step, where there is no next one
TINY = 1e-9


def inverse_trigamma(value: float) -> float:
    """Return x where trigamma(x) is `value`, by Newton's method (Smyth 2004)."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = special.polygamma(1, x)
        change = trigamma * (1 - trigamma / value) / special.polygamma(2, x)
        x += change
        if abs(change) < TINY * x:
            break
    return float(x)
