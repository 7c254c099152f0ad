"""How often the ladder's 95 % intervals cover the truth, beside those of a bootstrap and of the paired t-test.

    python benchmarks/intervals.py    # a minute; the figures of docs/how-to/train.md

Simulated differences of two rungs: the truth is 0, every seed and every patient has a normal effect of its own, and so has
every pair of them; where patients have several images, every image and seed has instead.
"""

import numpy as np
from scipy import stats

from medkd.ladder.intervals import crossed_mean

SEEDS, LADDERS, RESAMPLES = 3, 1000, 200
# Patients, and the standard deviations of the effects of a seed, a patient and a pair.
CASES = [
    (16, 0, 1, 1),
    (16, 0.3, 1, 1),
    (16, 1, 1, 1),
    (16, 1, 0, 1),
    (162, 0.1, 1, 1),
    (162, 0.05, 0.3, 1),
    (49, 1, 1, 0),
    ((18, 16, 8, 3, 2, 1, 1), 0.1, 1, 1),  # images of each patient: GlaS's test part
]


def bootstrap(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Patients and seeds drawn anew, both (Owen, Annals of Applied Statistics 2007): percentiles."""
    means = []
    for _ in range(RESAMPLES):
        rows, columns = (rng.integers(0, n, n) for n in values.shape)
        means.append(values[rows][:, columns].mean())
    return tuple(np.quantile(means, [0.025, 0.975]))


def main() -> None:
    rng = np.random.default_rng(0)
    print("patients (or images of each), SD of seed, patient, pair | this | bootstrap | paired t-test")
    for patients, seed, patient, pair in CASES:
        sizes = patients if isinstance(patients, tuple) else (1,) * patients
        names = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
        covered = np.zeros(3)
        for _ in range(LADDERS):
            values = rng.normal(0, seed, (1, SEEDS)) + np.repeat(rng.normal(0, patient, (len(sizes), 1)), sizes, axis=0)
            values = values + rng.normal(0, pair, (len(names), SEEDS))
            t_test = stats.ttest_1samp(values.mean(1), 0).confidence_interval(0.95)
            intervals = [crossed_mean(values, names).interval(), bootstrap(values, rng), (t_test.low, t_test.high)]
            covered += [low < 0 < high for low, high in intervals]
        print(
            f"{patients}, {seed}, {patient}, {pair} |",
            " | ".join(f"{share:.3f}" for share in covered / LADDERS),
            flush=True,
        )


if __name__ == "__main__":
    main()
