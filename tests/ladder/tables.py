"""Tables of scores, as ladders collect them."""

import pandas as pd


def table(**rungs):
    """Scores of rungs: for each seed a list over patients."""
    rows = [
        {"unit": f"p{number}", "patient": f"p{number}", "dice": value, "rung": rung, "seed": seed}
        for rung, seeds in rungs.items()
        for seed, values in enumerate(seeds)
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows)
