"""Normalisers: the leaderboard's worked cases and quirks, its steps done independently, scripts of our languages."""

import json
import random
import re
import unicodedata
from functools import cache
from pathlib import Path

import kaldialign
import pytest
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from qasr_train.errors import ConfigError
from qasr_train.text.english import given_names, leaderboard_english, our_english
from qasr_train.text.languages import LANGUAGES, resolve_language
from qasr_train.text.multilingual import join_compounds
from qasr_train.text.normalize import NORMALIZERS, get_normalizer
from tests.helpers import SHARED, needs_shared

LEADERBOARD = NORMALIZERS["leaderboard-2026-08"]
OURS = NORMALIZERS["qasr-1"]


@needs_shared
def test_the_leaderboards_worked_cases_agree():
    assert SHARED is not None
    lines = (Path(SHARED) / "scoring" / "leaderboard_cases.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 20
    for line in lines:
        case = json.loads(line)
        language = resolve_language(case["language"], where=case["id"])
        reference = LEADERBOARD.normalize(case["reference"], language)
        hypothesis = LEADERBOARD.normalize(case["hypothesis"], language)
        assert (reference, hypothesis) == (case["norm_reference"], case["norm_hypothesis"]), case["id"]
        joined = LEADERBOARD.join(reference, hypothesis, language)
        assert joined == (case["scored_reference"], case["scored_hypothesis"]), case["id"]
        assert LEADERBOARD.keeps(case["reference"], reference, language) is case["kept_by_reference_filter"], case["id"]
        edits = kaldialign.edit_distance(*(text.split() for text in joined), merge_compounds=True)
        assert {"S": edits["sub"], "D": edits["del"], "I": edits["ins"]} == case["errors"], case["id"]
        assert edits["ref_len"] == case["ref_words"], case["id"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don’t", "i don t"),  # a curly apostrophe is not expanded
        ("O'Brien", "0 brien"),
        ("-5", "5"),
        ("minus 5", "-5"),
        ("1 2 3", "one 23"),
        ("one two three", "123"),
        ("AT&T", "at t"),
        ("St. James St.", "saint james saint"),
        ("it's John's dog", "it is john s dog"),
        ("there's been a mistake", "there has been a mistake"),
        ("at 3 p.m.", "at 3 pm"),
        ("B. B. C.", "bbc"),
        ("I a b", "iab"),
        ("a b", "a b"),
        ("OK, okay, o.k.", "okay okay okay"),
        ("et cetera", "etc"),
        ("Wi-Fi and an X-ray", "wifi and an xray"),
        ("etcetera", "etc"),
        ("Stephen and Karl and Ann", "steven and carl and anne"),
        ("<noise> he [laughs] said (quietly) yes", "he said yes"),
        ("()", ""),
        ("and a half hour", "hour"),  # Whisper drops "and a half" at the start
        ("two and a half million", "2500000"),
        ("", ""),
    ],
)
def test_leaderboard_english_quirk(text, expected):
    assert leaderboard_english(text) == expected


def test_leaderboard_english_equals_the_steps_one_by_one():
    """Against transformers' copy of Whisper's rules with the additions of 2026 as scoring.md lists them, rule after rule."""
    rng = random.Random(3)
    words = (
        "Mr. st gen't rev it's he's dog's 's been 'd gone won't can't y'all i'ma ma'am gonna imma ok kay grey colour two and a "
        "half million twenty first 21st 1,234 $25 ¢7 50% per cent minus -5 o'clock oh double three point five . ... ? U.S. a. "
        'm. b b c x ray et cetera all right e-mail uh um mhm’ don’t Stephen [x] (y z) <u> ½ naïve ß Ⅷ ٣ a i 1 2 3 s \' "q" half '
        "one hundred and thirty dollars cents pounds £3 sixes o k al right how ever hi-fi 3.14 10.5.1 %x €"
    ).split()
    for _ in range(4000):
        text = " ".join(rng.choices(words, k=rng.randint(1, 9)))
        assert leaderboard_english(text) == " ".join(_slow_english(text).split()), text


_ADDED_FILLERS = r"\b(hmm|mm|mhm|mmm|uh|um|ah|aha|ahh|ahm|eh|ehehe|em|hm|huh|hum|mhum|uhm|umm|uhuh)\b"
_ADDED_COMPOUNDS = [
    ("et cetera", "etc"), ("all right", "alright"), ("how ever", "however"), ("wi fi", "wifi"), ("hi fi", "hifi"),
    ("lo fi", "lofi"), ("sci fi", "scifi"), ("e mail", "email"), ("e book", "ebook"), ("e commerce", "ecommerce"),
    ("x ray", "xray"), ("t shirt", "tshirt"), ("a m", "am"), ("p m", "pm"), ("o k", "okay"), ("al right", "alright"),
]  # fmt: skip


@cache
def _whisper_with_additions() -> EnglishTextNormalizer:
    with open(Path(__import__("whisper_normalizer").__file__).parent / "normalizers" / "english.json") as file:
        return EnglishTextNormalizer(json.load(file) | {"ok": "okay", "kay": "okay", "etcetera": "etc"})


def _slow_english(text: str) -> str:
    whisper = _whisper_with_additions()
    text = re.sub(r"[<\[][^>\]]*[>\]]", "", text.lower())
    text = re.sub(r"\(([^)]+?)\)", "", text)
    text = re.sub(_ADDED_FILLERS, "", text)
    text = re.sub(r"\s+'", "'", text)
    for pattern, replacement in whisper.replacers.items():
        if pattern == r"'s\b":
            pattern = r"\b(it|he|she|what|that|who|here|there|how|when|where|why|this)'s\b"
            replacement = r"\1 is"
        text = re.sub(pattern, replacement, text)
    text = re.sub(r"(\d),(\d)", r"\1\2", text)
    text = re.sub(r"\.([^0-9]|$)", r" \1", text)
    text = "".join(_slow_letter(character) for character in unicodedata.normalize("NFKD", text))
    for spaced, joined in _ADDED_COMPOUNDS:
        text = re.sub(r"\b" + spaced.replace(" ", r"\s+") + r"\b", joined, text)
    text = whisper.standardize_spellings(whisper.standardize_numbers(text))
    tokens = [given_names().get(word, word) for word in text.split()]
    text = " " + " ".join(tokens) + " "
    single = re.compile(r"(?<= )(?:[^\W_] )+")
    text = single.sub(lambda run: _slow_join(run[0].split()) + " ", text)
    text = re.sub(r"[.$¢€£]([^0-9])", r" \1", text.strip())
    return re.sub(r"([^0-9])%", r"\1 ", text)


def _slow_letter(character: str) -> str:
    more = dict(zip("œøæßđðþł", ["oe", "o", "ae", "ss", "d", "d", "th", "l"], strict=True))
    if character in ".%$¢€£":
        return character
    if character in more:
        return more[character]
    if unicodedata.category(character) == "Mn":
        return ""
    return " " if unicodedata.category(character)[0] in "MSP" else character


def _slow_join(run: list[str]) -> str:
    return ("" if len(run) >= (3 if {"a", "i"} & set(run) else 2) else " ").join(run)


def test_given_names_fold_both_ways_of_writing_to_one():
    assert leaderboard_english("Catherine Kathryn Katherine") == "catherine catherine catherine"
    names = given_names()
    assert len(names) > 300
    assert not set(names.values()) & set(names), "a kept spelling must not itself be folded"


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("10 000 personnes", "French", "dix mille personnes"),
        ("25 ans", "French", "vingt-cinq ans"),  # the hyphen that num2words writes stays
        (
            "1.234.567",
            "German",
            "eintausendzweihundertvierunddreißig fünfhundertsiebenundsechzig",
        ),  # groups joined in pairs
        ("Straße (leise) [Lärm]", "German", "straße"),
        ("第25号", "Chinese", "第25号"),  # num2words knows no Chinese
        ("25", "Filipino", "kaksikymmentäviisi"),  # it takes "fil" for Finnish
        ("25", "Malay", "25"),
        ("25 10 000", None, "25 10 000"),
    ],
)
def test_leaderboard_multilingual(text, language, expected):
    assert LEADERBOARD.normalize(text, language) == expected


def test_compounds_are_joined_where_only_the_spaces_differ():
    assert join_compounds("das haus tür schloss ist", "das haustürschloss ist") == (
        "das haustürschloss ist",
        "das haustürschloss ist",
    )
    assert join_compounds("das haus tür ist", "das haustor ist") == ("das haus tür ist", "das haustor ist")


@pytest.mark.parametrize(
    ("reference", "language", "is_kept"),
    [
        ("Uh, um.", "English", False),
        ("ignore time segment in scoring", "English", False),
        ("(leise)", "German", True),  # tested before normalising
        ("  ", "German", False),
        ("ignore_time_segment_in_scoring", "English", False),  # the underscores are punctuation
    ],
)
def test_leaderboard_reference_filter(reference, language, is_kept):
    assert LEADERBOARD.keeps(reference, LEADERBOARD.normalize(reference, language), language) is is_kept


@pytest.mark.parametrize(
    ("first", "second", "language"),
    [
        ("Ich habe 25 Äpfel, 3,5 kg.", "ich habe fünfundzwanzig äpfel drei komma fünf kg", "German"),
        (
            "1.234.567 Menschen",
            "eine Million zweihundertvierunddreißigtausendfünfhundertsiebenundsechzig menschen",
            "German",
        ),
        ("Straße", "STRASSE", "German"),
        ("L’été, c’est 50 %", "l'été c'est cinquante pour cent", "French"),
        ("12 000 euros", "douze mille euros", "French"),
        ("İSTANBUL IRMAK", "istanbul ırmak", "Turkish"),
        ("२५ दिन", "25 दिन", "Hindi"),
        ("น้ำ", "น้\u0e4dา", "Thai"),
        ("ＡＢＣ１２３", "abc123", "Chinese"),
        ("ｶﾀｶﾅ・テスト", "カタカナ テスト", "Japanese"),
        ("２５日", "二十五日", "Japanese"),
        ("ΟΔΌΣ", "οδός", "Greek"),
        ("می‌خواهم", "مي خواهم", "Persian"),
        ("Ёлка", "елка", "Russian"),
        ("şi ţară", "și țară", "Romanian"),
        ("العـــربية ٢٥", "العربية خمسة و عشرون", "Arabic"),
        ("I don’t know, it’s 25%", "i do not know it is twenty five percent", "English"),
        ("a\u0301", "á", "Vietnamese"),
    ],
)
def test_ours_makes_two_spellings_of_one_utterance_equal(first, second, language):
    assert OURS.normalize(first, language) == OURS.normalize(second, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("नमस्ते दुनिया", "Hindi"),
        ("ภาษาไทยน้ำ", "Thai"),
        ("مُحَمَّد", "Arabic"),
        ("özgür ırmak", "Turkish"),
        ("ни́когда", "Russian"),
    ],
)
def test_ours_keeps_combining_marks(text, language):
    assert OURS.normalize(text, language) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("first", "second", "language"), [("ılık", "ilik", "Turkish"), ("Stephen", "Steven", "English")]
)
def test_ours_keeps_what_is_said_apart(first, second, language):
    assert OURS.normalize(first, language) != OURS.normalize(second, language)


def test_ours_keeps_words_in_brackets():
    assert our_english("he said (hello) to us") == "he said hello to us"


@pytest.mark.parametrize("language", [*LANGUAGES, None, "Swahili"])
@pytest.mark.parametrize("name", ["qasr-1", "qasr-2", "leaderboard-2026-08", "none"])
def test_no_text_breaks_a_normaliser(name, language):
    rng = random.Random(7)
    alphabet = [
        chr(code) for code in (*range(32, 0x250), *range(0x370, 0xE80), *range(0x1E00, 0x2100), *range(0x3000, 0x3400))
    ]
    texts = [
        "",
        " ",
        "0",
        "007",
        "1" * 5000,
        "3.5.7,8",
        "1,23,456",
        "\u200d\u200c",
        "\x00\x1f",
        "((((",
        "½ ² ٣٫٥",
        "9" * 16,
    ]
    numbers = "nine decillion hundred thousand and a half point five double oh o minus $ £3 cents 1st twenty ones 1.5 .".split()
    texts += [" ".join(rng.choices(numbers, k=8)) for _ in range(60)]
    texts += ["".join(rng.choices(alphabet + [" ", "1", "2", "."] * 40, k=30)) for _ in range(60)]
    for text in texts:
        once = NORMALIZERS[name].normalize(text, language)
        assert isinstance(once, str)
        assert name == "none" or once == " ".join(once.split())


def test_an_unknown_normaliser_is_refused_with_the_choices():
    with pytest.raises(
        ConfigError,
        match="whisper: unknown; choose one of leaderboard-2026-08, leaderboard-2026-11, qasr-1, qasr-2, none",
    ):
        get_normalizer("whisper")
