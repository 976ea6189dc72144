"""`python -m tests.stats.savvi_vectors` writes the reference numbers for tests/unit/test_evidence.py.

`savvi` makes them: an independent implementation of the same paper. They are kept in a file, because savvi needs half a
gigabyte of solvers and plots, which the tests of rampd do not need. To make them again: `pip install savvi==0.3.1 matplotlib`.
"""

import json
from importlib.metadata import version
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "unit" / "savvi_vectors.json"
WEIGHTS = (500, 1000, 2500, 5000, 9500)
PRIORS = (50, 200)
COUNTS = ((0, 1), (1, 0), (9, 1), (90, 10), (40, 20), (10, 10), (300, 100), (3, 25), (60, 58))


def main() -> None:
    import numpy as np
    from savvi.multinomial import Multinomial

    vectors = []
    for weight in WEIGHTS:
        for prior in PRIORS:
            share = weight / 10_000
            for current, next_ in COUNTS:
                test = Multinomial(0.01, np.array([1 - share, share]), k=prior)
                test.update(np.array([current, next_]))
                vectors.append(
                    {"weight": weight, "prior": prior, "current": current, "next": next_, "e": float(test.odds)}
                )
    lines = ",\n".join(f"    {json.dumps(vector)}" for vector in vectors)
    VECTORS.write_text(f'{{\n  "savvi": "{version("savvi")}",\n  "vectors": [\n{lines}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
