"""Owns cutting clips where a stream would be heard: at the end of a chunk, with the transcript of what had been said by then.

Input: the utterances of an epoch, of which those with the times of their words can be cut. Output: the same with a share of
them cut, true durations with them; and sentences on what cannot be cut and why. Opens no audio: a cut is a span of the recording.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from qasr_train.augment.settings import PrefixConfig
from qasr_train.augment.variants import Variant, VariedUtterances, uniforms, utterance_rng, vary
from qasr_train.errors import DataError
from qasr_train.manifest import Utterance
from qasr_train.sources.table import durations_of, have_words, take
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.timed.beginnings import SpokenText

LOOKED_AT = 2000  # rows of a source; more would tell the same, and cost seconds with millions
_LEAST_REST_S = 0.01  # what a cut leaves out at least: durations are rounded


def draw_prefixes(
    utterances: Sequence[Utterance], config: PrefixConfig, *, drawn_of: Sequence[Utterance], seed: int, epoch: int
) -> Sequence[Utterance]:
    """A share of the clips cut at the end of one of their chunks; those that cannot be cut stay as they are.

    Args:
        utterances: as the epoch has them so far, at their speeds.
        drawn_of: the same before their speeds were drawn, a list or a table: draws go by their ids.
    """
    if not config.probability:
        return utterances
    durations_s = durations_of(utterances)
    is_drawn = uniforms(seed, epoch, drawn_of, "prefix") < config.probability
    is_long = durations_s > min(config.chunks_s) + _LEAST_REST_S
    cuts_s = np.full(len(utterances), np.nan)
    for i in np.flatnonzero(is_drawn & is_long & have_words(drawn_of)).tolist():
        cuts_s[i] = _draw_cut(utterances[i], config, seed=seed, epoch=epoch)
    return VariedUtterances(utterances, cuts_s, np.where(np.isnan(cuts_s), durations_s, cuts_s), _cut)


def chunk_ends(utterance: Utterance, chunks_s: Sequence[float]) -> list[list[float]]:
    """Of each length of a chunk, where a stream of them ends one and the times tell what had been said; seconds as heard."""
    spoken = _spoken(utterance)
    if spoken is None:
        return [[] for _ in chunks_s]
    duration_s = (utterance.duration_s or 0.0) - _LEAST_REST_S
    ends_s = ([chunk_s * number for number in range(1, int(duration_s / chunk_s) + 1)] for chunk_s in chunks_s)
    return [[at_s for at_s in own if spoken.until(_in_recording(utterance, at_s)) is not None] for own in ends_s]


def describe_prefixes(
    config: PrefixConfig, sources: Mapping[str, Sequence[Utterance]], *, is_streamed: bool = False
) -> list[str]:
    """A line for each source on how many of its clips can be cut, and why others cannot.

    Args:
        config: how clips are cut.
        sources: those that are lists or tables, by name.
        is_streamed: whether there are streams beside them; what these hold is not known beforehand.

    Raises:
        DataError: no clip of any source can be cut.
    """
    lines, num_cut, reasons = list[str](), 0, Counter[str]()
    for name, utterances in sources.items():
        is_timed = have_words(utterances)
        timed = np.flatnonzero(is_timed)
        looked_at = timed[:: max(1, -(-len(timed) // LOOKED_AT))]
        found = Counter(_why_whole(one, config) for one in take(utterances, looked_at))
        num_cut += found.pop("", 0)
        whole = Counter({"without times of their words": len(utterances) - len(timed)}) + found
        reasons += whole
        of = f", of {len(looked_at)} looked at" if len(looked_at) < len(timed) else ""
        said = "; ".join(f"{number} {reason}" for reason, number in whole.items())
        able = len(looked_at) - sum(found.values())
        lines.append(f"source {name}: augment.prefix can cut {able} clips{of}{f'; not {said}' if said else ''}")
    if not num_cut and not is_streamed:
        said = "; ".join(f"{number} {reason}" for reason, number in reasons.items())
        raise DataError(
            f"augment.prefix.probability={config.probability:g}: no clip of data.train can be cut ({said}); give manifests with "
            "`words`, as recipes/align.py writes them, or set it to 0"
        )
    return lines


def _why_whole(utterance: Utterance, config: PrefixConfig) -> str:
    """Why an utterance with timed words is never cut; "" where it can be."""
    if (utterance.duration_s or 0.0) <= min(config.chunks_s) + _LEAST_REST_S:
        return "no longer than a chunk"
    if _spoken(utterance) is None:
        return "with words that are not those of the transcript"
    return (
        ""
        if any(chunk_ends(utterance, config.chunks_s))
        else "without a chunk's end at which the times tell what had been said"
    )


def _draw_cut(utterance: Utterance, config: PrefixConfig, *, seed: int, epoch: int) -> float:
    """Seconds of the clip; NaN where it cannot be cut."""
    possible = [ends_s for ends_s in chunk_ends(utterance, config.chunks_s) if ends_s]
    if not possible:
        return float("nan")
    rng = utterance_rng(seed, epoch, utterance, "prefix end")
    ends_s = possible[int(rng.integers(len(possible)))]
    return ends_s[int(rng.integers(len(ends_s)))]


def _cut(utterance: Utterance, cut_s: float, duration_s: float) -> Utterance:
    """Cut at `cut_s` seconds of the clip as it is heard; as it is where that is NaN."""
    if np.isnan(cut_s):
        return utterance
    at_s = _in_recording(utterance, cut_s)
    spoken = _spoken(utterance)
    said = spoken and spoken.until(at_s)
    assert said is not None, "such a cut is not drawn"
    return vary(utterance, text=said.text, words=said.words, duration_s=duration_s, end_s=at_s, is_prefix=True)


def _spoken(utterance: Utterance) -> SpokenText | None:
    return SpokenText.of(first_spelling(utterance.text or ""), utterance.words) if utterance.words else None


def _in_recording(utterance: Utterance, heard_s: float) -> float:
    """Seconds of the recording, of seconds of the clip as it is heard."""
    speed = utterance.speed if isinstance(utterance, Variant) else 1.0
    return (utterance.start_s or 0.0) + heard_s * speed
