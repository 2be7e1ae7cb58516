"""Owns the nouns of rewards: what was asked, what the model answered, what that is worth.

Input: none. Output: `Asked`, `Hypothesis`, `Reward`. A reward is higher for a better answer; all of ours but `error_count` lie in
0 to 1, where 1 is a faultless answer.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One answer of the model to a clip.

    text: the transcript. language: as the answer tells it, by the model's name ("English"); None: it tells none.
    num_tokens: of the answer, its end included. is_finished: ended by the end token and not by the bound on its length.
    """

    text: str
    language: str | None
    num_tokens: int
    is_finished: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of the clip.

    reference: its transcript; "": no speech. language: of the reference; None: unknown.
    terms: the row's own terms, spoken in it or not; (): it has none. duration_s: seconds of audio.
    """

    reference: str
    language: str | None
    terms: tuple[str, ...]
    duration_s: float


# None: the clip does not say (a term reward where there are no terms); the clip is left out of that reward's mean. Whether it
# is None depends on what was asked alone, never on the hypothesis: all answers to a clip are compared by the same rewards.
Reward = Callable[[Asked, Hypothesis], float | None]
