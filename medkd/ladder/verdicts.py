"""What a ladder says in words: for each claim the gain, its interval, the cost in time, and which of the two to take."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf, isnan

import pandas as pd

from medkd.ladder.cost import minutes, ratios
from medkd.ladder.intervals import Comparison, compare, signed
from medkd.ladder.plan import Ladder

__all__ = ["verdicts"]

_IS = {"better": "is better than", "undecided": "is not told apart from", "worse": "is worse than"}
_SAME_TIME = 0.05  # trainings that differ by less than this share take the same time


def verdicts(ladder: Ladder, scores: pd.DataFrame) -> str:
    """A list in Markdown, one sentence per claim, about the first score over all test sets; empty where nothing is claimed.

    Of a rung with a ``role``, a teacher, it says how large the gap is that distillation can close, and which share of it the
    rungs close that learn from it: (rung - other) / (teacher - other).

    Args:
        ladder: the rungs and claims.
        scores: as ``collect`` gives them.
    """
    score, bounds = next(iter(ladder.scores)), ladder.bounds
    claims = compare(scores, ladder.pairs, score)
    claims += compare(scores, list(bounds), score, margins=list(bounds.values()))
    return "\n".join(f"* {_Claim(ladder, scores, score, claim).sentence()}" for claim in claims)


@dataclass(frozen=True)
class _Claim:
    ladder: Ladder
    scores: pd.DataFrame
    score: str
    found: Comparison

    def sentence(self) -> str:
        rung, against = self.found.rung, self.found.against
        title, units = self.ladder.scores[self.score], self.ladder.units
        if isnan(self.found.difference):
            return f"{rung} cannot be compared with {against}: {title} of both is known of none of the {units}."
        free = ", which needs no training" if self._is_baseline() else ""
        gain = f"{title} {signed(self.found.difference, self.found.low, self.found.high)}"
        if self.found.margin:
            return self._bounded(gain)
        is_gap = "role" in self.ladder.rungs[rung] and not self._is_baseline()
        so = self._gap() if is_gap else self._choice()
        return f"{rung} {_IS[self.found.verdict]} {against}{free}: {gain}{self._cost()}; {so}."

    def _bounded(self, gain: str) -> str:
        """Whether a rung is behind by no more than a margin that was named beforehand."""
        behind = f"behind {self.found.against} by more than {self.found.margin:g}: {gain}{self._cost()}"
        if self.found.verdict == "undecided":
            more, why = self._more()
            return f"{self.found.rung} may be {behind}; {more} would tell{why}."
        return f"{self.found.rung} is {'' if self.found.verdict == 'inferior' else 'not '}{behind}."

    def _is_baseline(self) -> bool:
        return self.found.against == self.ladder.baseline

    def _extra(self, rung: str, other: str) -> list[str]:
        """Rungs to be trained before a rung, but not before the other."""
        before = self.ladder.reads(other)
        return [name for name in self.ladder.reads(rung) if name not in before]

    def _cost(self) -> str:
        rung, against = self.found.rung, self.found.against
        table = minutes(self.scores)
        times, text = float(ratios(table, [rung], [against]).median()), ""
        if self._is_baseline() and not isnan(own := float(table[rung].median())):
            text = f", {own:.1f} minutes of training"
        elif abs(times - 1) <= _SAME_TIME:
            text = ", about the same training time"
        elif not isnan(times):
            text = f", {times:.{1 if times >= 1 else 2}f} times its training time"
        first = self._extra(rung, against)
        return text + (f", with {' and '.join(first)} to be trained first" if first else "")

    def _choice(self) -> str:
        """Which of the two to take: of two that nothing tells apart the one that costs less, else the one that was there."""
        rung, against = self.found.rung, self.found.against
        more, why = self._more()
        if self.found.verdict == "worse":
            return f"of the two take {against}"
        if self.found.verdict == "better":
            return f"of the two take {rung}" + (f" if {more} agree{why}" if why else "")
        whole, other = [rung, *self._extra(rung, against)], [against, *self._extra(against, rung)]
        times = ratios(minutes(self.scores), whole, other)
        less, longer = (len(times) > 0 and bool(one.all()) for one in (times < 1 - _SAME_TIME, times > 1 + _SAME_TIME))
        taken = rung if less else against
        # With every seed alone: what else a machine does takes time too.
        cheaper = ", which is cheaper," if less or longer else ""
        return f"of the two take {taken}{cheaper} until {more} tell them apart{why}"

    def _gap(self) -> str:
        more, why = self._more()
        if self.found.verdict == "worse":
            return f"{self.found.against} has nothing to learn from it"
        if self.found.verdict == "undecided":
            return f"distillation has no gap to close until {more} show one{why}"
        text = "that is the gap that distillation can close" + (f" if {more} agree{why}" if why else "")
        students = [name for name in self.ladder.rungs if self.found.rung in self.ladder.reads(name)]
        closed = compare(self.scores, [(name, self.found.against) for name in students], self.score)
        shares = [f"{one.rung} {_percent(one.difference / self.found.difference)}" for one in closed]
        return text + (f"; shares closed, by point estimate: {', '.join(shares)}" if shares else "")

    def _more(self) -> tuple[str, str]:
        """What would narrow the interval, and why if it is the number of seeds that the interval does not count."""
        own = self.scores[(self.scores["rung"] == self.found.rung) & self.scores[self.score].notna()]
        seeds, units = own["seed"].nunique(), own["unit"].nunique()
        if isinf(self.found.low) or (seeds > 1 and self.found.seed_share < 0.5):
            return f"more test {self.ladder.units} ({units} so far)", ""
        if seeds > 1:
            return f"more seeds ({seeds} so far)", ""
        return "more seeds", f": with one, the interval counts {self.ladder.groups} alone"


def _percent(share: float) -> str:
    return f"{round(100 * share, 0) + 0:.0f} %"  # + 0: not "-0"
