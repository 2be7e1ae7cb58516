"""Owns the gate: whether a candidate may replace the baseline. Targets must improve, guards must not lose more than a margin.

A candidate whose outputs collapsed is refused on both. No group of a column may lose more than its own margin.

Input: paired tests and broken outputs per set, and which sets are which. Output: `Verdict`, a check per set, with its sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qasr_train.evaluation.comparing.group import GroupComparison
from qasr_train.evaluation.comparing.output_changes import OutputChange, collapsed_because
from qasr_train.evaluation.comparing.paired import PairedTest, more_units
from qasr_train.evaluation.settings import GateConfig
from qasr_train.pages.table import p_text


@dataclass(frozen=True, slots=True)
class Check:
    """One set against its rule; a group ("accent=Scottish", role "group"), a style ("numbers", role "style target").

    passed: None where it is too small to say.
    """

    set: str
    role: str
    passed: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks. passed is None where nothing was decided: no target or guard, or some too small and none failed."""

    passed: bool | None
    checks: list[Check]

    @property
    def word(self) -> str:
        """ "passed", "failed", "undecided" or "not judged"."""
        return {True: "passed", False: "failed", None: "undecided" if self.checks else "not judged"}[self.passed]

    @property
    def exit_status(self) -> int:
        """1 where it failed, 3 where it is undecided, else 0."""
        return {"failed": 1, "undecided": 3}.get(self.word, 0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gate looks at in one set, or in one group of a column.

    test: None where there is nothing to compare. outputs: the broken ones, by way. is_one_speaker: of a group, that one alone is
    heard in it, whatever the units of its test.
    """

    test: PairedTest | None
    outputs: Mapping[str, OutputChange]
    num_utterances: int
    is_one_speaker: bool = False

    @classmethod
    def of(cls, group: GroupComparison, *, is_one_speaker: bool = False) -> "Evidence":
        """What of a comparison the gate looks at."""
        return cls(group.test, group.outputs, group.num_utterances, is_one_speaker)


def judge(
    sets: Mapping[str, Evidence],
    roles: Mapping[str, str | None],
    gate: GateConfig,
    groups: Mapping[str, Evidence] | None = None,
    styles: Mapping[str, PairedTest | None] | None = None,
) -> Verdict:
    """Judge a candidate set by set.

    Every target must have a lower error rate with a two-sided p below alpha; every guard an upper bound of its loss (one-sided,
    confidence 1 - alpha: a test of non-inferiority) of at most the margin. All must pass, so no correction for their number.
    A set of `min_units` utterances on which the candidate collapsed is failed first, however many units they are of.

    Args:
        sets: by name; the confidence of their tests is 1 - alpha.
        roles: per set, "target", "guard" or None.
        groups: of columns, by name: none may lose more than gate.worst_group. One passes as a guard does; it fails where a loss
            beyond the margin was measured and its p is below alpha / number of groups; between, or small, it is undecided.
        styles: by trait, what became of its error rate: a target of gate.style_target, a guard of gate.style_guard.
    """
    checks = [_check(name, str(role), sets[name], gate) for name, role in roles.items() if role in _RULES]
    if gate.worst_group is not None and groups:
        checks += [_group_check(name, found, gate, len(groups)) for name, found in groups.items()]
    judged = [*gate.style_target, *gate.style_guard] if styles is not None else []
    checks += [_style_check(name, (styles or {})[name], gate) for name in judged]
    said = {check.passed for check in checks}
    return Verdict(False if False in said else True if said == {True} else None, checks)


def _check(name: str, role: str, found: Evidence, gate: GateConfig) -> Check:
    passed, sentence = _RULES[role](found.test, gate)
    is_small = found.test is not None and found.test.interval.num_units < gate.min_units
    if found.num_utterances >= gate.min_units:
        collapsed = collapsed_because(found.outputs, found.test, gate, should_improve=role == "target")
        if collapsed is not None:
            return Check(name, role, False, collapsed if is_small else f"{collapsed}; by error rate alone: {sentence}")
    if is_small and found.test is not None:
        return Check(name, role, None, _too_small(role, found.test, gate))
    return Check(name, role, passed, sentence)


def _style_check(name: str, test: PairedTest | None, gate: GateConfig) -> Check:
    """A way of writing, as a set of its role; where neither system shows it, it is undecided."""
    role = "target" if name in gate.style_target else "guard"
    if test is None:
        return Check(name, f"style {role}", None, "undecided: references and outputs show none of it")
    gate = replace(gate, max_guard_loss_points=gate.max_style_loss_points)
    if test.interval.num_units < gate.min_units:
        return Check(name, f"style {role}", None, _too_small(role, test, gate))
    return Check(name, f"style {role}", *_RULES[role](test, gate))


def _group_check(name: str, found: Evidence, gate: GateConfig, num_groups: int) -> Check:
    test, margin, alpha = found.test, gate.worst_group or 0.0, gate.alpha / num_groups
    if test is None:
        return Check(name, "group", None, "undecided: no reference words to compare on")
    if found.is_one_speaker:
        seen = f"1 speaker, {test.delta_percent:+z.2f} points"
        return Check(name, "group", None, f"undecided: {seen}; one speaker cannot stand for a group, more are needed")
    if test.interval.num_units < gate.min_units:
        return Check(name, "group", None, _too_small("group", test, gate))
    bound = _bound_text(test, margin)
    if test.one_sided_upper_percent <= margin:
        return Check(name, "group", True, f"kept ({bound})")
    if test.delta_percent > margin and test.p_value < alpha:
        many = f", below {gate.alpha:g} / {num_groups} groups" if num_groups > 1 else ""
        return Check(name, "group", False, f"got worse ({bound}; two-sided p {p_text(test.p_value)}{many})")
    if test.delta_percent > margin and test.error_points is not None:  # to be shown, not ruled out
        number = more_units(test.delta_percent, test.error_points, test.interval.num_units, alpha / 2)
    else:
        number = _more_units("group", test, gate)
    said = f"undecided: a loss beyond the margin is neither shown nor ruled out ({bound})"
    return Check(name, "group", None, said + _more_text(test, number))


def _too_small(role: str, test: PairedTest, gate: GateConfig) -> str:
    shown = test.detectable_points
    if shown is None:
        smallest = "so few show no difference, however large"
    else:
        smallest = f"the smallest difference that so few show is {shown:.2f} points"
    more = _more_units(role, test, gate)
    to_ask = gate.min_units - test.interval.num_units
    least = f"; at least {units_text(test, to_ask)} more are needed" if more is None else ""
    return f"undecided: {units_text(test)}, gate.min_units={gate.min_units}; {smallest}{least}{_more_text(test, more, to_ask)}"


def _more_units(role: str, test: PairedTest, gate: GateConfig) -> int | None:
    """How many more units would decide, in four of five cases, if the difference and its spread are as seen; None: none would."""
    if role == "target":
        return test.num_more_units if test.delta_percent < 0 else None
    if test.error_points is None:
        return None
    margin = gate.max_guard_loss_points if role == "guard" else gate.worst_group or 0.0
    room, alpha = margin - test.delta_percent, 1 - test.interval.confidence
    return more_units(room, test.error_points, test.interval.num_units, alpha)


def _more_text(test: PairedTest, number: int | None, least: int = 1) -> str:
    return "" if number is None else f"; some {units_text(test, max(number, least))} more like these would decide"


def _target(test: PairedTest | None, gate: GateConfig) -> tuple[bool, str]:
    if test is None:
        return False, "no reference words to compare on"
    is_better = test.delta_percent < 0
    is_sure = test.p_value < gate.alpha
    p_said = f"(two-sided p {p_text(test.p_value)})"
    if is_better and is_sure:
        sentence = f"improved by {-test.delta_percent:.2f} points {p_said}"
    elif is_better:
        more = _more_text(test, _more_units("target", test, gate))
        sentence = f"{-test.delta_percent:.2f} points better, but that may be chance {p_said}{more}"
    else:
        sentence = f"did not improve ({test.delta_percent:+z.2f} points)"
    return is_better and is_sure, sentence


def _guard(test: PairedTest | None, gate: GateConfig) -> tuple[bool, str]:
    if test is None:
        return False, "no reference words to compare on"
    passed = test.one_sided_upper_percent <= gate.max_guard_loss_points
    bound = _bound_text(test, gate.max_guard_loss_points)
    if passed:
        sentence = f"kept ({bound})"
    elif test.delta_percent <= gate.max_guard_loss_points:
        more = _more_text(test, _more_units("guard", test, gate))
        sentence = f"cannot be told from a loss beyond the margin ({bound}){more}"
    else:
        sentence = f"lost too much ({bound})"
    return passed, sentence


def _bound_text(test: PairedTest, margin: float) -> str:
    surely = f"one-sided {100 * test.interval.confidence:.4g} % bound {test.one_sided_upper_percent:+z.2f}"
    return f"{test.delta_percent:+z.2f} points, {surely}; allowed {margin:+.2f}"


def units_text(test: PairedTest, number: int | None = None) -> str:
    """So many units of a test (None: as many as it has), e.g. "12 speakers"."""
    number = test.interval.num_units if number is None else number
    return f"{number:,} {test.interval.unit}{'' if number == 1 else 's'}"


_RULES = {"target": _target, "guard": _guard}
_MARKS = {True: "ok  ", False: "FAIL", None: "?   "}


def verdict_text(verdict: Verdict) -> str:
    """The verdict in words, a line per set."""
    if not verdict.checks:
        return (
            "gate: not judged, since no set is a target or a guard; name them with gate.target=[...] gate.guard=[...]"
        )
    lines = [f"  {_MARKS[check.passed]}  {check.role} {check.set}: {check.sentence}" for check in verdict.checks]
    return "\n".join([f"gate: {verdict.word}", *lines])
