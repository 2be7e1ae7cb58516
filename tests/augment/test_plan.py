"""What the plan of an epoch holds: speeds, joined clips and silence, within the limits, with true durations."""

import tracemalloc
from itertools import chain
from typing import Any

import numpy as np
import pytest

from qasr_train.augment.plan import PlanLimits, add_silence, draw_speeds, join_clips
from qasr_train.augment.settings import JoinConfig, SilenceConfig, SpeedConfig
from qasr_train.augment.variants import Variant, mark_copies, utterance_rng, utterance_uniform, variant_waveform, vary
from qasr_train.errors import ConfigError
from qasr_train.manifest import Utterance
from qasr_train.sources.table import TableBuilder
from tests.helpers import tone, utterance

LIMITS = PlanLimits(max_duration_s=30.0, max_target_tokens=1024)
DRAW: dict[str, Any] = {"seed": 1, "epoch": 0}


def clips(number: int, **fields: Any) -> list[Utterance]:
    return [utterance(id=f"u{i}", text=f"word {i}", **{"duration_s": 2.0, **fields}) for i in range(number)]


def parts_of(planned: list[Utterance]) -> list[list[str]]:
    return [[p.id for p in u.parts] if isinstance(u, Variant) and u.parts else [u.id] for u in planned]


def test_a_third_each_of_three_speeds_with_the_durations_they_have() -> None:
    drawn = draw_speeds(clips(3000), SpeedConfig(2 / 3, [0.9, 1.1]), LIMITS, **DRAW)
    speeds = [u.speed if isinstance(u, Variant) else 1.0 for u in drawn]
    assert [round(speeds.count(s) / 3000, 1) for s in (0.9, 1.0, 1.1)] == [0.3, 0.3, 0.3]
    assert {round(u.duration_s or 0, 4) for u in drawn} == {2.2222, 2.0, 1.8182}
    slow = next(u for u in drawn if u.duration_s and u.duration_s > 2.1)
    assert len(variant_waveform(slow, lambda part: tone(2.0))) == pytest.approx(2.0 / 0.9 * 16_000, abs=1)


def test_speed_changes_the_pitch_with_the_tempo() -> None:
    fast = vary(utterance(), speed=1.25)
    spectrum = np.abs(np.fft.rfft(variant_waveform(fast, lambda part: tone(2.0, frequency_hz=400))[:16_000]))
    assert int(np.argmax(spectrum)) == 500  # bins of one hertz


def test_a_clip_that_would_pass_the_limit_keeps_its_speed() -> None:
    drawn = draw_speeds(clips(20, duration_s=28.0), SpeedConfig(1.0, [0.9]), LIMITS, **DRAW)
    assert [u.duration_s for u in drawn] == [28.0] * 20


def test_joining_loses_no_clip_and_keeps_the_limits() -> None:
    rows = clips(200)
    planned = join_clips(rows, JoinConfig(0.3, max_duration_s=11.0), LIMITS, **DRAW)
    assert sorted(chain.from_iterable(parts_of(planned))) == sorted(u.id for u in rows)
    joined = [u for u in planned if isinstance(u, Variant)]
    assert len(joined) > 10 and len({len(u.parts) for u in joined}) > 2
    for clip in joined:
        assert clip.duration_s == pytest.approx(2.0 * len(clip.parts) + sum(clip.gaps_s)) and clip.duration_s <= 11.0
        assert clip.text == " ".join(p.text or "" for p in clip.parts) and len(clip.gaps_s) == len(clip.parts) - 1


def test_a_joined_clip_sounds_as_long_as_it_is_planned() -> None:
    clip = next(u for u in join_clips(clips(9), JoinConfig(1.0), LIMITS, **DRAW) if isinstance(u, Variant))
    waveform = variant_waveform(clip, lambda part: tone(2.0))
    assert len(waveform) / 16_000 == pytest.approx(clip.duration_s, abs=1e-3)
    first_gap = waveform[32_000 : 32_000 + round(clip.gaps_s[0] * 16_000)]
    assert not first_gap.any() and waveform[31_990:32_000].any()


def test_only_clips_of_one_speaker_and_language_are_joined() -> None:
    rows = [
        utterance(id=f"{language}-{speaker}-{i}", language=language, speaker=speaker, duration_s=2.0)
        for i in range(20)
        for language in ("English", "German")
        for speaker in ("a", "b", None)
    ]
    planned = join_clips(rows, JoinConfig(1.0), LIMITS, **DRAW)
    groups = [{name.rpartition("-")[0] for name in names} for names in parts_of(planned)]
    assert all(len(group) == 1 for group in groups) and len(groups) < 60


def test_a_clip_without_speech_is_not_joined_and_chinese_is_joined_without_a_space() -> None:
    rows = [utterance(id="a"), utterance(id="quiet", text=""), utterance(id="b")]
    planned = join_clips(rows, JoinConfig(1.0), LIMITS, **DRAW)
    assert sorted(parts_of(planned)) == [["a", "b"], ["quiet"]]
    chinese = [utterance(id=name, language="Chinese", text=name) for name in ("你好", "世界")]
    assert [u.text for u in join_clips(chinese, JoinConfig(1.0), LIMITS, **DRAW)] == ["你好世界"]


def test_joined_targets_keep_the_limit_of_tokens() -> None:
    rows = [utterance(id=f"u{i}", text="x" * 40, duration_s=1.0) for i in range(30)]
    planned = join_clips(rows, JoinConfig(1.0), PlanLimits(30.0, 100), **DRAW)
    assert max(len(names) for names in parts_of(planned)) == 2  # 2 x 41 bytes and 16 for language tag and end; not 3


def test_silence_is_the_share_asked_for_and_nothing_is_said_in_it() -> None:
    planned = add_silence(clips(90), SilenceConfig(0.1), LIMITS, source="main", **DRAW)
    silent = [u for u in planned if isinstance(u, Variant) and u.is_silence]
    assert len(silent) == 10 and len({u.id for u in silent}) == 10
    assert all(u.text == "" and 0.5 <= (u.duration_s or 0) <= 10.0 for u in silent)
    waveform = variant_waveform(silent[0], lambda part: tone())
    assert len(waveform) == round((silent[0].duration_s or 0) * 16_000) and not waveform.any()


def test_draws_depend_on_seed_epoch_id_and_purpose_alone() -> None:
    one = utterance(id="u1")
    first = utterance_uniform(0, 0, one, "speed")
    assert first == utterance_uniform(0, 0, utterance(id="u1", text="other", duration_s=9.0), "speed")
    others = [
        utterance_uniform(1, 0, one, "speed"),
        utterance_uniform(0, 1, one, "speed"),
        utterance_uniform(0, 0, utterance(id="u2"), "speed"),
        utterance_uniform(0, 0, one, "noise"),
        utterance_uniform(0, 0, vary(one, copy=1), "speed"),
    ]
    assert len({first, *others}) == 6
    assert utterance_rng(0, 0, one, "x").uniform() == utterance_rng(0, 0, one, "x").uniform()
    assert np.mean([utterance_uniform(0, 0, u, "x") for u in clips(4000)]) == pytest.approx(0.5, abs=0.02)


def test_the_second_copy_of_a_clip_in_an_epoch_is_another_one() -> None:
    rows = [utterance(id="a"), utterance(id="b"), utterance(id="a")]
    marked = mark_copies(rows)
    assert marked[:2] == rows[:2] and marked[2] == vary(rows[2], copy=1)


@pytest.mark.parametrize(("build", "words"), [
    (lambda: SilenceConfig(0.1, min_level_db=-20.0), "silence.min_level_db=-20 is more than augment.silence.max_level_db=-30"),
    (lambda: SpeedConfig(0.5, factors=[]), r"augment.speed.factors=\[\]"),
    (lambda: SpeedConfig(0.5, factors=[11.0]), r"augment.speed.factors\[0\]=11"),
    (lambda: JoinConfig(1.5), "augment.join.probability=1.5"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(build: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()


def test_a_table_of_rows_gets_the_draws_of_a_list() -> None:
    rows = clips(50)
    builder = TableBuilder()
    for row in rows:
        builder.add(row)
    config = SpeedConfig(2 / 3, [0.9, 1.1])
    from_list, from_table = (draw_speeds(u, config, LIMITS, **DRAW) for u in (rows, builder.finish()))
    assert [(u.id, u.duration_s) for u in from_table] == [(u.id, u.duration_s) for u in from_list]
    assert [from_table[i] for i in range(50)] == list(from_table)
    assert list(from_table[1::3]) == list(from_table)[1::3]


def test_speeds_of_a_million_rows_make_no_objects() -> None:
    """The plan of a long list is drawn from its columns: a second copy of a table costs numbers, not rows."""
    builder = TableBuilder()
    for row in clips(2000):
        builder.add(row)
    tracemalloc.start()
    drawn = draw_speeds(builder.finish(), SpeedConfig(1.0), LIMITS, **DRAW)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(drawn) == 2000 and held / 2000 < 150  # bytes a row; an Utterance alone takes several hundred
