"""Which tiers of a file hold what was said."""

import pytest

from qasr_train.errors import DataError
from qasr_train.timed.base import TimedWord
from qasr_train.timed.tiers import elan
from qasr_train.timed.tiers.choice import Tier, segments_of_tiers

WORD = Tier("word", [(0.0, 0.5, ""), (0.5, 1.0, "so"), (1.0, 1.4, "it"), (1.4, 2.0, "goes"), (2.5, 3.0, "on")])
SENTENCE = Tier("sentence", [(0.5, 2.0, "So it goes."), (2.0, 2.5, ""), (2.5, 3.0, "On!")])
GLOSS = Tier("gloss", [(0.5, 2.0, "so geht das"), (2.5, 3.0, "weiter")])
PHONE = Tier("phone", [(0.5, 0.7, "s"), (0.7, 1.0, "oU")])


def said(*tiers: Tier, wanted: tuple[str, ...] = ()) -> list[tuple[str, str, int]]:
    """(speaker, text, number of words) of each segment."""
    return [(one.speaker, one.text, len(one.words)) for one in segments_of_tiers(tiers, wanted, "f")]


def test_one_tier_is_taken_whatever_it_is_called() -> None:
    assert said(GLOSS) == [("gloss", "so geht das", 0), ("gloss", "weiter", 0)]
    assert said(SENTENCE, PHONE) == [("", "So it goes.", 0), ("", "On!", 0)]


def test_a_tier_of_words_goes_before_tiers_that_say_something_else() -> None:
    assert said(PHONE, WORD, GLOSS) == [("", "so it goes on", 4)]
    assert said(PHONE, WORD, SENTENCE, GLOSS) == [("", "So it goes.", 3), ("", "On!", 1)]


def test_a_tier_of_single_words_that_follow_each_other_is_one_of_words() -> None:
    assert said(Tier("anna", WORD.spans)) == [("anna", "so it goes on", 4)]
    apart = [(0.0, 0.5, "yes"), (2.0, 2.4, "no"), (4.0, 4.5, "yes")]  # answers, each by itself
    assert said(Tier("anna", apart)) == [("anna", text, 0) for _, _, text in apart]


def test_a_tier_called_words_that_holds_sentences_is_none_of_words() -> None:
    assert said(Tier("ORT", SENTENCE.spans)) == [("", "So it goes.", 0), ("", "On!", 0)]


def test_tiers_of_speakers_are_told_from_layers_by_their_times() -> None:
    ben = Tier("ben", [(2.0, 2.4, "Mm."), (3.0, 5.0, "I see it.")])  # begins where the other ends
    assert said(Tier("anna", SENTENCE.spans), ben) == [
        ("anna", "So it goes.", 0), ("ben", "Mm.", 0), ("anna", "On!", 0), ("ben", "I see it.", 0),
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"f: has tiers that lie over one another \(sentence, gloss\).*tiers=\[NAME\]"):
        said(SENTENCE, GLOSS)


def test_named_tiers_are_taken_as_they_are() -> None:
    tiers = (PHONE, WORD, SENTENCE, GLOSS)
    assert said(*tiers, wanted=("gloss",)) == [("", "so geht das", 0), ("", "weiter", 0)]
    assert said(*tiers, wanted=("re:[gs].*",))[:2] == [("", "So it goes.", 0), ("gloss", "so geht das", 0)]
    assert said(*tiers, wanted=("gl*", "word")) == [("gloss", "so geht das", 3), ("gloss", "weiter", 1)]
    assert said(Tier("a [x]", GLOSS.spans), wanted=("a [x]",)) == [("", "so geht das", 0), ("", "weiter", 0)]
    with pytest.raises(DataError, match=r"^f: has no tier ort or x; it has phone, word: correct tiers$"):
        said(PHONE, WORD, wanted=("ort", "x"))


def test_sounds_alone_are_refused_and_nothing_at_all_is_nothing() -> None:
    with pytest.raises(DataError, match=r"f: has tiers of sounds alone \(phone\); name one of words as tiers"):
        said(PHONE, Tier("word", [(0.0, 1.0, "")]))
    assert said(Tier("word", [(0.0, 1.0, "")])) == []


def test_webmaus_gives_words_and_not_its_canonical_sounds() -> None:
    ort = Tier("ORT-MAU", [(0.0, 0.4, "<p:>"), (0.4, 0.8, "heute"), (0.8, 1.2, "schön")])
    kan = Tier("KAN-MAU", [(0.4, 0.8, "hOYt@"), (0.8, 1.2, "S2:n")])
    [one] = segments_of_tiers([ort, kan, Tier("MAU", [(0.4, 0.5, "h")])], (), "f")
    assert (one.text, one.words) == ("heute schön", (TimedWord("heute", 0.4, 0.8), TimedWord("schön", 0.8, 1.2)))


def test_words_of_each_speaker_go_to_that_speaker() -> None:
    tiers = [Tier("anna", SENTENCE.spans), Tier("anna - words", WORD.spans), Tier("ben - words", WORD.spans)]
    assert said(*tiers) == [("anna", "So it goes.", 3), ("ben", "so it goes on", 4), ("anna", "On!", 1)]


EAF = """<ANNOTATION_DOCUMENT><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="500"/>
<TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="1500"/></TIME_ORDER>
<TIER TIER_ID="utt" {participant}><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2">
<ANNOTATION_VALUE>so so</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="wrd" PARENT_REF="utt"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a2" ANNOTATION_REF="a1">
<ANNOTATION_VALUE>thus</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3"
ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a2"><ANNOTATION_VALUE>and</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="pos" PARENT_REF="wrd"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a2">
<ANNOTATION_VALUE>ADV</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>{more}</ANNOTATION_DOCUMENT>"""


def test_a_dependent_tier_of_elan_that_is_named_has_the_times_of_the_one_above_it() -> None:
    text = EAF.format(participant='PARTICIPANT="Anna"', more="")
    for name, expected in (("wrd", "thus and"), ("pos", "ADV"), ("utt", "so so")):
        [one] = elan.segments_of(text, "f", [name])
        assert (one.text, one.start_s, one.end_s, one.speaker) == (expected, 0.5, 1.5, "Anna")
    assert [one.text for one in elan.segments_of(text, "f")] == ["so so"]
    with pytest.raises(DataError, match=r"f: has no tier x; it has utt, wrd, pos"):
        elan.segments_of(text, "f", ["x"])
    with pytest.raises(DataError, match=r"f: annotation a4 depends on one that is not there"):
        elan.segments_of(text.replace('ANNOTATION_REF="a2"', 'ANNOTATION_REF="a9"'), "f")


def test_independent_tiers_of_elan_that_lie_over_one_another_are_told() -> None:
    more = """<TIER TIER_ID="en"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="b1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2">
    <ANNOTATION_VALUE>just so</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>"""
    text = EAF.format(participant="", more=more)
    with pytest.raises(DataError, match=r"f: has tiers that lie over one another \(utt, en\)"):
        elan.segments_of(text, "f")
    [one] = elan.segments_of(text, "f", ["en"])
    assert (one.text, one.speaker) == ("just so", "")
    assert [one.speaker for one in elan.segments_of(text, "f", ["en", "utt"])] == ["utt", "en"]


def test_syllables_beside_words_are_passed_over_and_without_them_told() -> None:
    syllables = Tier("syllable", [(0.5, 1.0, "s-oU"), (1.0, 1.4, "I-t"), (1.4, 2.0, "g-oU-z")])
    stress = Tier("stress", [(0.5, 1.0, "s-oU"), (1.4, 2.0, "g-oU-z")])
    assert said(syllables, stress, WORD) == [("", "so it goes on", 4)]
    with pytest.raises(DataError, match=r"lie over one another \(syllable, stress\)"):
        said(syllables, stress)
