"""Distances of boundaries by hand, and what an evaluation of an aligner says of a suite."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.timing.baselines import OtherLetters, Proportional, open_baseline
from qasr_train.evaluation.timing.evaluate import evaluate_timing, groups_of
from qasr_train.evaluation.timing.shifts import figures_of, moved_ms, time_words
from qasr_train.jobs.recipes import load_config
from qasr_train.timed.base import TimedWord
from tests.helpers import tone, utterance, write_wav

REFERENCE = (TimedWord("one", 0.0, 0.5), TimedWord("two", 0.5, None), TimedWord("three", 70.0, 71.0))


def test_distances_shares_and_faults_are_those_worked_out_by_hand() -> None:
    # Off by +30 and -50 ms, by +100 ms (its end is not in the reference), and an unplaced word.
    heard = (TimedWord("one", 0.03, 0.45), TimedWord("two", 0.6, 0.6), TimedWord("three", None, None))
    timing = time_words("a", "English", REFERENCE, heard, [1, 1, 1])
    assert [round(one.shift_s, 3) for one in timing.boundaries] == [0.03, -0.05, 0.1]
    found = figures_of([timing])
    assert found.num_boundaries == 3 and found.aas_ms == pytest.approx(60.0)
    assert (found.start_ms, found.end_ms) == pytest.approx((65.0, 50.0)) and found.bias_ms == pytest.approx(80 / 3)
    assert (found.within_40, found.within_80, found.within_200) == pytest.approx((100 / 3, 200 / 3, 100))
    assert found.unplaced == pytest.approx(100 / 3) and found.zero == pytest.approx(50.0) and found.still is None


def test_times_that_stand_still_late_are_counted() -> None:
    heard = tuple(TimedWord(str(n), start, start + 0.1) for n, start in enumerate((59.0, 61.0, 61.0, 61.0, 62.0)))
    found = figures_of([time_words("a", None, heard, heard, [1] * 5)])
    assert found.still == pytest.approx(50.0), "two of the four words past a minute begin where the one before does"
    assert found.aas_ms == 0.0 and found.interval_ms is None


def test_a_word_that_is_several_units_has_the_start_of_the_first_and_the_end_of_the_last() -> None:
    units = (TimedWord("你", 0.0, 0.2), TimedWord("好", 0.2, 0.6))
    [start, end] = time_words("a", "Chinese", (TimedWord("你好", 0.1, 0.5),), units, [2]).boundaries
    assert (start.shift_s, end.shift_s) == pytest.approx((-0.1, 0.1))


def test_groups_are_languages_and_places_that_do_not_hold_all() -> None:
    late = time_words("b", "German", REFERENCE, REFERENCE, [1, 1, 1])
    early = time_words("a", "English", REFERENCE[:1], REFERENCE[:1], [1])
    assert [name for name, _ in groups_of([early, late])] == ["all", "English", "German", "0-5 s", "60-120 s"]
    assert [name for name, _ in groups_of([early])] == ["all"]


def test_how_far_two_aligners_lie_apart_is_of_what_both_place() -> None:
    heard = (TimedWord("one", 0.03, 0.45), TimedWord("two", 0.6, 0.6), TimedWord("three", None, None))
    other = (TimedWord("one", 0.01, None), TimedWord("two", 0.7, 0.6), TimedWord("three", 70.0, 71.0))
    first, second = (time_words("a", "English", REFERENCE, words, [1, 1, 1]) for words in (heard, other))
    assert moved_ms([first], [second]) == pytest.approx(60.0)  # 20 and 100 ms
    assert moved_ms([first], [time_words("a", "English", REFERENCE, (), [0, 0, 0])]) is None


def test_the_same_words_in_other_letters_come_back_as_they_were() -> None:
    class Letters(Proportional):
        """Capitals, which it keeps, take twice the room."""

        def align(self, waveform: np.ndarray, words: Sequence[str], language: str | None) -> tuple[TimedWord, ...]:
            asked.append(list(words))
            return super().align(waveform, [word + "x" * word.count("A") for word in words], language)

    asked = list[list[str]]()
    found = OtherLetters(Letters()).align(tone(1.0), ["aa", "bb"], None)
    again = OtherLetters(Letters()).align(tone(1.0), ["Aa", "bb"], None)
    assert asked == [["AA", "BB"], ["aa", "bb"]]
    assert [one.text for one in (*found, *again)] == ["aa", "bb", "Aa", "bb"]
    assert (found[0].end_s, again[0].end_s) == pytest.approx((2 / 3, 0.5), abs=0.03)


def test_proportional_words_share_what_is_heard_by_their_letters(tmp_path: Path) -> None:
    words = Proportional().align(tone(1.0), ["ab", "cdefgh"], None)
    assert [word.start_s for word in words] == pytest.approx([0.0, 0.25], abs=0.03)
    assert [word.end_s for word in words] == pytest.approx([0.25, 1.0], abs=0.03)
    with pytest.raises(ConfigError, match="is neither proportional nor the directory of a Whisper"):
        open_baseline(str(tmp_path))


def test_an_evaluation_writes_every_boundary_and_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    audio = str(write_wav(tmp_path / "a.wav", tone(1.0)))
    words = (TimedWord("ab", 0.0, 0.2), TimedWord("cdefgh", 0.2, 1.0))
    row = utterance(id="a", audio=audio, text="ab cdefgh", words=words, duration_s=None)

    def never(clips: Sequence[np.ndarray], language: str | None) -> list[str]:
        raise AssertionError("a recording that is taken in one is not heard")

    evaluate_timing({"own": [row]}, {"proportional": Proportional()}, tmp_path, hear=never, min_confidence=0.0)
    [figures] = json.loads((tmp_path / "alignment.json").read_text())["figures"]
    assert figures["system"] == "proportional" and figures["aas_ms"] == pytest.approx(25.0, abs=10)
    assert len(json.loads((tmp_path / "timings.jsonl").read_text())["boundaries"]) == 4
    # The same second as the last of three, stated with times of the recording.
    later = str(write_wav(tmp_path / "b.wav", np.concatenate([np.zeros(32_000, dtype=np.float32), tone(1.0)])))
    part = replace(row, audio=later, start_s=2.0, end_s=3.0, words=tuple(word.moved(2.0) for word in words))
    evaluate_timing({"own": [part]}, {"proportional": Proportional()}, tmp_path, hear=None, min_confidence=0.0)
    [again] = json.loads((tmp_path / "alignment.json").read_text())["figures"]
    assert again["aas_ms"] == pytest.approx(figures["aas_ms"], abs=0.01)
    assert "proportional, own: all" in capsys.readouterr().out
    with pytest.raises(DataError, match="utterance 'b' states no times of its words; suite=alignment needs"):
        evaluate_timing({"own": [utterance(id="b")]}, {}, tmp_path, hear=None, min_confidence=0.0)


def test_aligners_and_recognisers_are_evaluated_on_suites_of_their_own() -> None:
    common = ["suite.manifest=x", "run_dir=x"]
    with pytest.raises(ConfigError, match="an aligner transcribes nothing; evaluate it with suite=alignment"):
        load_config("evaluate", ["model=tiny_aligner", "suite=own", *common])
    with pytest.raises(ConfigError, match="asks when words were said, which model.family=qwen3_asr does not say"):
        load_config("evaluate", ["model=tiny", "suite=alignment", *common])
