"""The demo's texts: what is held out stays held out, and the medical words are new to the base model."""

import random

import pytest

from scripts.demo.clips import plan_short_clips, plan_test_clips, plan_training_clips
from scripts.demo.corpus import all_words, draw_sentence, is_held_out
from scripts.demo.make_data import NUM_MEDICAL, plan_general, plan_medical
from scripts.demo.medical import MEDICAL_KINDS, draw_medical_sentences, hotwords
from scripts.demo.synthesis import HELD_OUT_TIMBRES, TRAINED_TIMBRES
from scripts.demo.vocabulary import LANGUAGES


@pytest.fixture(scope="module")
def training_clips():
    return plan_short_clips(500, seed=1) + plan_training_clips(3000, seed=2)


def timbre(clip) -> str:
    return clip.delivery.voice.split("+")[1]


def test_training_never_holds_a_held_out_sentence_timbre_rate_or_pitch(training_clips):
    assert not any(is_held_out(clip.text) for clip in training_clips)
    assert {timbre(clip) for clip in training_clips}.isdisjoint(HELD_OUT_TIMBRES)
    test_clips = plan_test_clips(50, seed=3, is_timbre_held_out=True)
    assert all(is_held_out(clip.text) for clip in test_clips)
    assert {timbre(clip) for clip in test_clips} <= set(HELD_OUT_TIMBRES)
    for setting in ("rate_wpm", "pitch"):
        trained = {getattr(clip.delivery, setting) for clip in training_clips}
        assert trained.isdisjoint(getattr(clip.delivery, setting) for clip in test_clips)


def test_no_medical_term_is_in_the_base_models_training(training_clips):
    content = {
        word
        for kind in ("drug", "disease", "symptom", "organ", "finding", "test", "degree", "route")
        for term in MEDICAL_KINDS[kind]
        for word in term.split()
    }
    assert content.isdisjoint(word for clip in training_clips for word in clip.text.split())
    assert content.isdisjoint(word for language in LANGUAGES for word in all_words(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_over_a_hundred_words_and_both_kinds_of_sentence(language):
    assert len(all_words(language)) > 100
    rng = random.Random(0)
    assert is_held_out(draw_sentence(language, rng, held_out=True))
    assert not is_held_out(draw_sentence(language, rng, held_out=False))


def test_medical_test_sentences_are_new_and_their_words_are_not():
    rows = plan_medical(seed=0)
    texts = {split: [row.clip.text for row in rows if row.split == split] for split in NUM_MEDICAL}
    assert {split: len(texts[split]) for split in texts} == NUM_MEDICAL
    assert len({text for split in texts for text in texts[split]}) == sum(NUM_MEDICAL.values())
    words = {split: {word for text in texts[split] for word in text.split()} for split in texts}
    assert words["test"] <= words["train"]
    assert words["dev"] <= words["train"]


def test_the_same_seed_plans_the_same_texts_and_voices():
    assert plan_medical(seed=5) == plan_medical(seed=5)
    assert plan_general(40, seed=5) == plan_general(40, seed=5)
    assert plan_medical(seed=5) != plan_medical(seed=6)


def test_general_test_sentences_were_held_out_from_the_base_model_and_its_voices_were_not():
    rows = plan_general(200, seed=0)
    assert all(is_held_out(row.clip.text) == (row.split != "train") for row in rows if " " in row.clip.text)
    assert {timbre(row.clip) for row in rows} <= set(TRAINED_TIMBRES)


def test_asking_for_more_medical_sentences_than_exist_says_so_instead_of_looping():
    class FirstChoice(random.Random):
        def choice(self, items):
            return items[0]

    with pytest.raises(ValueError, match="do not give 20 different sentences"):
        draw_medical_sentences(20, FirstChoice(0))


def test_the_term_list_holds_terms_alone_and_each_is_spoken():
    terms = hotwords()
    assert {"heparin", "biopsy", "intravenous"} < set(terms) and not {"patient", "acute", "fifty", "daily"} & set(terms)
    words = {word for row in plan_medical(0) for word in row.clip.text.split()}
    assert set(terms) <= words and len(terms) == len(set(terms))
