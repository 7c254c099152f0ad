"""Whether to deploy a student, with the reasons, in three sentences; and the checks that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isinf

from medkd.ladder.intervals import Comparison, compare, signed
from medkd.report.checks_of_trust import confidence, data, patients
from medkd.report.material import Limits, Material
from medkd.report.outcome import Check, worst

__all__ = ["Verdict", "judge", "margin_of"]

_HEADS = {
    "fail": "Do not deploy",
    "open": "Undecided",
    "caution": "Deploy, with caution",
    "pass": "Deploy",
}


@dataclass(frozen=True)
class Verdict:
    """What the report says first.

    Attributes:
        state: ``pass``, ``caution``, ``open`` or ``fail``: that of the worst check.
        head: in a few words.
        sentences: three of them.
        checks: what they come from, in the order of the page.
    """

    state: str
    head: str
    sentences: tuple[str, str, str]
    checks: tuple[Check, ...]


def judge(material: Material, limits: Limits) -> Verdict:
    """The verdict: no check may fail and none may be open, or the student is not to be deployed yet."""
    scored = [
        _gain(material, "alone"),
        _not_inferior(material, "teacher", limits),
        _not_inferior(material, "full", limits),
    ]
    checks = [*scored, patients(material, limits), confidence(material, limits), *data(material, limits)]
    known = tuple(check for check in checks if check is not None)
    state = worst(known)
    return Verdict(state, _HEADS[state], _sentences(material, state, known), known)


def _sentences(material: Material, state: str, checks: Sequence[Check]) -> tuple[str, str, str]:
    """What decided; how the student compares; what else has to be known. Each reason is said once."""
    deciding = [check for check in checks if check.state == state] if state in {"fail", "open"} else []
    others = [check for check in checks if check not in deciding]
    first = {
        "fail": f"Do not deploy {material.student}",
        "open": f"These data do not tell whether to deploy {material.student}",
        "caution": f"{material.student} may be deployed, if what follows is known",
        "pass": f"{material.student} may be deployed: it passes all {len(checks)} checks",
    }[state]
    if deciding:
        first += f": {_listed(deciding)}"
    compared = [check for check in others if check.kind == "scores"]
    second = f"Otherwise {_listed(compared)}" if deciding and compared else _listed(compared)
    if not compared:
        second = f"All comparisons stand above: {len(checks)} checks were made"
    known = [check for check in others if check.kind != "scores" and check.state != "pass"]
    passed = [check.name for check in others if check.kind != "scores" and check.state == "pass"]
    third = f"To be known: {_listed(known)}" if known else f"Nothing speaks against it in {_enumerated(passed)}"
    return _sentence(first), _sentence(second), _sentence(third)


def _listed(checks: Sequence[Check]) -> str:
    return "; ".join(check.brief for check in checks)


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "anything else"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _found(material: Material, pair: tuple[str, str], margin: float | None = None) -> Comparison:
    """The comparison as the ladder makes it, corrected with its other claims where it is one of them."""
    ladder, scores, score = material.ladder, material.scores, material.score
    if margin is None:
        pairs = ladder.pairs if pair in ladder.pairs else [pair]
        return compare(scores, pairs, score)[pairs.index(pair)]
    bounds = ladder.bounds if pair in ladder.bounds else {pair: margin}
    return compare(scores, list(bounds), score, margins=list(bounds.values()))[list(bounds).index(pair)]


def _gain(material: Material, part: str) -> Check | None:
    rule = f"the interval of the gain in {material.title} over the same student without distillation lies above 0"
    if part not in material.parts:
        return Check(
            "gain", "open", "no student was trained alone, so nobody knows what distillation gained", rule, "scores"
        )
    pair = (material.student, material.parts[part])
    found = _found(material, pair)
    states = {"better": "pass", "worse": "fail", "undecided": "open"}
    words = {"better": "it is better than", "worse": "it is worse than", "undecided": "it is not told apart from"}
    brief = f"{words[found.verdict]} {pair[1]}, the student alone ({_interval(material, found)})"
    return Check("gain", states[found.verdict], brief, rule, "scores")


def margin_of(material: Material, part: str, limits: Limits) -> tuple[float, bool]:
    """The margin of the student to a part, and whether the ladder has set it, which is before anybody had seen results."""
    pair = (material.student, material.parts[part])
    own = material.ladder.bounds.get(pair)
    return (limits.margin, False) if own is None else (own, True)


def _not_inferior(material: Material, part: str, limits: Limits) -> Check | None:
    """Behind its teacher by no more than the margin. Full supervision, which needs all the labels, is a caution alone."""
    title = {"teacher": "teacher", "full": "full supervision"}[part]
    if part not in material.parts:
        if part == "full":
            return None
        why = "there is no score of a teacher to hold it against"
        return Check(title, "caution", why, f"it is not behind its teacher by more than {limits.margin:g}", "scores")
    margin, told = margin_of(material, part, limits)
    pair = (material.student, material.parts[part])
    found = _found(material, pair, margin)
    origin = "set in the ladder" if told else "set for this report"
    rule = f"the interval of the difference in {material.title} lies above −{margin:g}, the margin {origin}"
    words = {
        "not inferior": f"is not behind {_named(part, pair[1])} by more than {margin:g}",
        "inferior": f"is behind {_named(part, pair[1])} by more than {margin:g}",
        "undecided": f"may be behind {_named(part, pair[1])} by more than {margin:g}",
    }
    states = {"not inferior": "pass", "inferior": "fail", "undecided": "open"}
    state = states[found.verdict]
    if part == "full" and state != "pass":
        state = "caution"
    return Check(title, state, f"it {words[found.verdict]} ({_interval(material, found)})", rule, "scores")


def _named(part: str, network: str) -> str:
    if part == "teacher":
        return "its teacher" if network == "teacher" or network.endswith("its teacher") else f"its teacher {network}"
    return f"full supervision ({network})"


def _interval(material: Material, found: Comparison) -> str:
    if isinf(found.low):
        return f"{material.title} {found.difference:+.3f}, of one of the {material.ladder.groups}: no interval"
    return f"{material.title} {signed(found.difference, found.low, found.high)}"
