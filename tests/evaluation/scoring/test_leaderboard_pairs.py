"""Pairs for each rule of leaderboard-2026-08, worked out by hand from the rules: both scored texts, errors, reference words."""

import kaldialign
import pytest

from qasr_train.text.languages import resolve_language
from qasr_train.text.normalize import LEADERBOARD, get_normalizer

# language, reference, hypothesis, what is scored of each, substitutions + deletions + insertions. Step by step in
# docs/evaluation.md.
SAME = None  # the hypothesis comes out as the reference does
PAIRS = [
    # numbers, ordinals, years, money, percent (7, 8, 11, 15)
    ("en", "It cost $20 million.", "it cost twenty million dollars", "it cost $20000000", SAME, 0),
    ("en", "$2.50", "two dollars and fifty cents", "$2.50", SAME, 0),
    ("en", "$0.99", "99 cents", "¢99", SAME, 0),
    ("en", "£5 or €3", "five pounds or three euros", "£5 or €3", SAME, 0),
    ("en", "the 1960s", "the nineteen sixties", "the 1960s", SAME, 0),
    ("en", "in nineteen eighty four", "in 1984", "in 1984", SAME, 0),
    ("en", "twenty twenty one", "2021", "2021", SAME, 0),
    ("en", "one hundred and twenty three", "123", "123", SAME, 0),
    ("en", "twenty five thousand three hundred", "25,300", "25300", SAME, 0),
    ("en", "1,000,000", "one million", "1000000", SAME, 0),
    ("en", "1,2,3", "12 3", "12 3", SAME, 0),
    ("en", "a hundred", "100", "a 100", "100", 1),
    ("en", "three point one four", "3.14", "3.14", SAME, 0),
    ("en", "two and a half million", "2.5 million", "2500000", SAME, 0),
    ("en", "zero point five percent", "0.5%", "0.5%", SAME, 0),
    ("en", "100% %", "one hundred per cent", "100%", SAME, 0),
    ("en", "double oh seven", "007", "007", "7", 1),
    ("en", "minus five degrees", "-5 degrees", "-5 degrees", "5 degrees", 1),
    ("en", "twenty first of June", "21st of June", "21st of june", SAME, 0),
    ("en", "ones and twos", "1s and 2s", "ones and 2s", SAME, 0),
    ("en", "one two three four", "1 2 3 4", "1234", "one 234", 2),
    ("en", "½ cup", "1/2 cup", "one 2 cup", SAME, 0),
    ("en", "3:30 p.m.", "three thirty PM", "3 30 pm", "330 pm", 0),  # merged by the aligner
    ("en", "Jan. 5, 2020", "january fifth twenty twenty", "jan 5 2020", "january 5th 2020", 2),
    ("en", "4x4", "four by four", "4x4", "4 by 4", 3),
    ("en", "COVID-19", "covid nineteen", "covid 19", SAME, 0),
    # titles and contractions (5, 6)
    ("en", "Dr. Lee and Mr. Day", "doctor Lee and mister Day", "doctor lee and mister day", SAME, 0),
    ("en", "St. Mary's St.", "saint mary's street", "saint mary s saint", "saint mary s street", 1),
    ("en", "Mrs. O'Neil's", "missus oneal's", "missus 0 neil s", "missus oneal s", 2),
    ("en", "I'd been there, she'd go", "I had been there, she would go", "i had been there she would go", SAME, 0),
    ("en", "He's got it; John's been", "he has got it john has been", "he has got it john has been", SAME, 0),
    ("en", "the cat's out, who's in", "the cat is out who is in", "the cat s out who is in", "the cat is out who is in", 1),
    ("en", "I'm gonna, y'all should've", "i am going to you all should have", "i am going to you all should have", SAME, 0),
    ("en", "yes, ma 'am", "yes madam", "yes madam", SAME, 0),
    ("en", "I left 'cause", "i left cause", "i left cause", SAME, 0),
    ("en", "don’t", "don't", "don t", "do not", 2),
    # acronyms and compounds (10, 14)
    ("en", "U.S.A. and F.B.I.", "USA and FBI", "usa and fbi", SAME, 0),
    ("en", "A.I. is", "AI is", "a i is", "ai is", 0),  # two letters with "a": not joined, merged by the aligner
    ("en", "AT&T", "A T and T", "at t", "a t and t", 1),
    ("en", "Wi-Fi, e-mail, T-shirt, X-ray, sci-fi", "wifi email tshirt xray scifi", "wifi email tshirt xray scifi", SAME, 0),
    ("en", "O.K., all right, et cetera", "okay alright etc.", "okay alright etc", SAME, 0),
    ("en", "OK kay etcetera how ever", "okay okay etc however", "okay okay etc however", SAME, 0),
    ("en", "at 9 a. m.", "at 9 AM", "at 9 am", SAME, 0),
    ("en", "some times every body", "sometimes everybody", "some times every body", "sometimes everybody", 0),
    ("en", "white paper", "whitepapers", "white paper", "whitepapers", 2),
    # spans, fillers, emptiness (2, 3, 4)
    ("en", "[noise] hello <unk> (laughs) world", "hello world", "hello world", SAME, 0),
    ("en", "hello [noise world", "hello noise world", "hello noise world", SAME, 0),
    ("en", "<a] b", "b", "b", SAME, 0),
    ("en", "Uh-huh, ahem", "hem", "ahem", "hem", 1),
    ("en", "Um... yes", "yes", "yes", SAME, 0),
    ("en", "wait...", "wait", "wait .", "wait", 1),
    ("en", "mm-hmm", "no", "", "no", 1),
    # spelling, names, letters, symbols (9, 12, 13)
    ("en", "colour, centre, analyse", "color center analyze", "color center analyze", SAME, 0),
    ("en", "archaeology", "archeology", "archeology", SAME, 0),
    ("en", "pummelling snowploughs", "pummeling snowplows", "pummeling snowplows", SAME, 0),
    ("en", "Stephen, Karl, Ann", "Steven Carl Anne", "steven carl anne", SAME, 0),
    ("en", "naïve Ångström straße œuvre", "naive angstrom strasse oeuvre", "naive angstrom strasse oeuvre", SAME, 0),
    ("en", "ﬁne ™", "fine tm", "fine TM", "fine tm", 1),  # capitals that NFKD brings stay
    ("en", "snake_case 👋🏽", "snake case", "snake case", SAME, 0),
    # other languages
    ("de", "Am 3. Oktober 1990", "am dritten oktober", "am drei oktober eintausendneunhundertneunzig", "am dritten oktober", 2),
    ("de", "10.000 Euro", "zehntausend euro", "zehntausend euro", SAME, 0),
    ("de", "die Haus-Tür", "die Haustür", "die haustür", SAME, 0),
    ("de", "STRAẞE", "Strasse", "straße", "strasse", 1),
    ("de", "[Lachen]", "ja", "", "ja", 1),
    ("fr", "L’été", "l'e\u0301te\u0301", "l été", SAME, 0),
    ("fr", "80 %", "quatre-vingts", "quatre-vingts", "quatre vingts", 2),  # the hyphen that num2words writes stays
    ("fr", "1 000 000 personnes", "un million personnes", "mille zéro personnes", "un million personnes", 2),
    ("es", "¿21 años?", "veintiún años", "veintiuno años", "veintiún años", 1),
    ("es", "2.100,56", "dos mil cien cincuenta y seis", "dos mil cien cincuenta y seis", SAME, 0),
    ("it", "È 1 milione, perché?", "è un milione perche", "è uno milione perché", "è un milione perche", 2),
    ("pt", "a 2ª, 5 €", "a segunda cinco", "a doisa cinco", "a segunda cinco", 1),
    ("ru", "5 лет", "пять лет", "пять лет", SAME, 0),
    ("ja", "25日", "二十五日", "二十五日", SAME, 0),
    ("zh", "25号", "二十五号", "25号", "二十五号", 1),
    ("fa", "می\u200cخواهم", "می خواهم", "می\u200cخواهم", "می خواهم", 2),  # the half-space is part of a word
    ("ar", "مُحَمَّد", "محمد", "محمد", SAME, 0),  # the marks are spaces, and the compound rule joins what they leave
]  # fmt: skip


@pytest.mark.parametrize(("code", "reference", "hypothesis", "scored", "other", "num_errors"), PAIRS)
def test_a_pair_is_scored_as_the_rules_say(
    code: str, reference: str, hypothesis: str, scored: str, other: str | None, num_errors: int
) -> None:
    rules = get_normalizer(LEADERBOARD)
    language = resolve_language(code, where="here")
    texts = [rules.normalize(text, language) for text in (reference, hypothesis)]
    joined = rules.join(texts[0], texts[1], language)
    assert joined == (scored, scored if other is None else other)
    edits = kaldialign.edit_distance(
        *(text.split() for text in joined), merge_compounds=rules.merges_compounds(language)
    )
    assert (edits["total"], edits["ref_len"]) == (num_errors, len(scored.split()))
