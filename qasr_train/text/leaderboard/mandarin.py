"""Owns the rules of `leaderboard-2026-11` for Mandarin: simplified characters, numbers in words, for an error rate of characters.

Input: a raw transcript. Output: its text, words of other scripts apart by single spaces. Source: normalizer/chinese_normalizer.py
of huggingface/open_asr_leaderboard at d394be4, a branch. OpenCC and wetext, which it names, do its two larger steps here as well:
`pip install "qasr_train[mandarin]"`.
"""

import functools
import re
import unicodedata
from collections.abc import Callable

from qasr_train.errors import ConfigError
from qasr_train.text.english import without_spans
from qasr_train.text.leaderboard.multilingual import WordCharacters

_FRACTION = re.compile(r"(\d?)([¼-¾⅐-⅞])")
_HAN = (
    "\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufa6d"
    "\ufa70-\ufad9\U00016fe2-\U00016ff6\U00020000-\U00033479"
)
_SPACE_BESIDE_HAN = re.compile(rf"(?<=[{_HAN}])\s+|(?<!\s)\s+(?=[{_HAN}])")
# What is not Han, with six Han characters on either side, where the units and words lie that say how a number is read. wetext
# gets no more than that, once for equal ones: it takes two milliseconds a character. Sentences never share a number.
_AROUND_NUMBERS = re.compile(rf"[{_HAN}]{{0,6}}[^{_HAN}](?:[{_HAN}]{{0,12}}[^{_HAN}])*[{_HAN}]{{0,6}}")
_SENTENCES = re.compile(r"[^。!?;\n]{1,80}[。!?;\n]*|[。!?;\n]+")
_WORD_CHARACTERS = WordCharacters(others=" ")


def mandarin_2026_11(text: str) -> str:
    """Mandarin as the leaderboard's branch compares it; its rate is that of characters (CER).

    Raises:
        ConfigError: OpenCC or wetext is not installed.
    """
    simplified, in_words = _libraries()
    text = unicodedata.normalize("NFKC", _FRACTION.sub(_apart, text))
    text = without_spans(simplified(text).lower()).replace("(", " ").replace(")", " ")
    text = _AROUND_NUMBERS.sub(
        lambda match: "".join(map(in_words, _SENTENCES.findall(match[0]))), _SPACE_BESIDE_HAN.sub("", text)
    )
    text = unicodedata.normalize("NFKC", text.replace("〇", "零"))
    return " ".join(text.translate(_WORD_CHARACTERS).split())


def require_libraries() -> None:
    """Refuse (ConfigError) where OpenCC or wetext is not installed."""
    _libraries()


def _apart(match: re.Match[str]) -> str:
    """ "29¾" as "29 3/4", which Unicode's folding would make 293/4."""
    fraction = unicodedata.normalize("NFKC", match[2]).replace("\u2044", "/")
    return f"{match[1]} {fraction}" if match[1] else fraction


@functools.cache
def _libraries() -> tuple[Callable[[str], str], Callable[[str], str]]:
    """(traditional to simplified characters, numbers and signs to words)."""
    try:
        import opencc
        import wetext
    except ImportError as error:
        raise ConfigError(
            f"normalizer=leaderboard-2026-11: Mandarin needs opencc and wetext, and {error.name} is not installed; run "
            'pip install "qasr_train[mandarin]", or score it by normalizer=qasr-2'
        ) from None
    numbers = wetext.Normalizer(lang="zh", operator="tn")
    return opencc.OpenCC("t2s").convert, functools.lru_cache(maxsize=65536)(numbers.normalize)
