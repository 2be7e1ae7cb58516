"""What share of an epoch each source and language has, and how a temperature evens it out."""

import math

import numpy as np
import pytest

from qasr_train.data.mixture import ListPool, apply_temperature, describe_shares
from qasr_train.data.settings import MixBy
from qasr_train.sources.table import TableBuilder, languages_of
from tests.helpers import utterance


def pool(name: str, languages: dict[str | None, int], *, passes: float = 1.0, is_table: bool = False) -> ListPool:
    """`languages`: name -> clips of ten seconds in it."""
    rows = [
        utterance(id=f"{name}-{language}-{i}", language=language, duration_s=10.0)
        for language, count in languages.items()
        for i in range(count)
    ]
    if not is_table:
        return ListPool(name, rows, passes, (0, 0))
    builder = TableBuilder()
    for row in rows:
        builder.add(row)
    return ListPool(name, builder.finish(), passes, (0, 0))


def seconds(pools: dict[str, ListPool]) -> dict[str, float]:
    return {name: one.passes * one.duration_s for name, one in pools.items()}


@pytest.mark.parametrize("is_table", [False, True])
def test_temperature_two_gives_the_square_roots_of_the_shares(is_table: bool):
    # 90 and 10 clips: shares 0.9 and 0.1, roots 0.9487 and 0.3162, normalised 0.75 and 0.25
    mixed = apply_temperature(
        {"cv": pool("cv", {"English": 90, "Welsh": 10}, is_table=is_table)}, temperature=2.0, by=MixBy.language
    )
    assert seconds(mixed) == pytest.approx({"cv/English": 750.0, "cv/Welsh": 250.0})
    assert mixed["cv/Welsh"].passes == pytest.approx(2.5)
    assert {u.language for u in mixed["cv/Welsh"].draw(0)} == {"Welsh"}
    assert len(mixed["cv/Welsh"].draw(0)) == 25


def test_temperature_one_leaves_the_weights_as_they_are():
    pools = {"a": pool("a", {"English": 30}, passes=2.0), "b": pool("b", {"English": 10})}
    assert seconds(apply_temperature(pools, 1.0, MixBy.source)) == pytest.approx(seconds(pools))


def test_a_high_temperature_makes_all_languages_equal_whatever_source_they_are_in():
    pools = {"a": pool("a", {"English": 60, "German": 20}), "b": pool("b", {"German": 20})}
    mixed = seconds(apply_temperature(pools, 1e9, MixBy.language))
    assert mixed == pytest.approx({"a/English": 500.0, "a/German": 250.0, "b": 250.0})


def test_between_sources_the_languages_do_not_matter():
    pools = {"a": pool("a", {"English": 60, "German": 20}), "b": pool("b", {"German": 20})}
    mixed = seconds(apply_temperature(pools, 1e9, MixBy.source))
    assert mixed == pytest.approx({"a": 500.0, "b": 500.0})


def test_passes_per_epoch_count_before_the_temperature():
    pools = {"a": pool("a", {"English": 10}, passes=8.1), "b": pool("b", {"English": 10}, passes=0.9)}
    mixed = seconds(apply_temperature(pools, 2.0, MixBy.source))
    assert mixed == pytest.approx({"a": 900 * 0.75, "b": 900 * 0.25})


def test_shares_are_told_by_source_and_by_language():
    pools = [pool("main", {"English": 27, None: 9}, passes=2.0), pool("replay", {"German": 18})]
    assert describe_shares(pools) == (
        "an epoch holds 0.25 h: main 0.20 h (80.0 %), replay 0.05 h (20.0 %); "
        "by language: English 0.15 h (60.0 %), unknown 0.05 h (20.0 %), German 0.05 h (20.0 %)"
    )
    assert describe_shares([pool("main", {"English": 3})]) == ""


def test_languages_of_a_part_of_a_table_are_those_it_holds():
    whole = pool("a", {"English": 3, None: 2, "German": 1}, is_table=True).utterances
    names, codes = languages_of(whole[3:])
    assert [names[code] for code in codes] == ["unknown", "unknown", "German"]
    assert sorted(names) == ["German", "unknown"]
    assert languages_of([utterance(language=None)]) == (["unknown"], np.array([0]))


def test_the_passes_of_a_language_still_show_everything_before_anything_again():
    mixed = apply_temperature({"a": pool("a", {"English": 96, "Welsh": 4})}, 3.0, MixBy.language)["a/English"]
    assert 0.5 < mixed.passes < 1
    seen = [u.id for epoch in range(math.ceil(1 / mixed.passes)) for u in mixed.draw(epoch)]
    assert len(set(seen[:96])) == 96
