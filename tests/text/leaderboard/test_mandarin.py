"""Mandarin of `leaderboard-2026-11`: every expected value is of the leaderboard's own stored code, run beside ours."""

import sys

import pytest

from qasr_train.errors import ConfigError
from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.text.leaderboard import mandarin
from qasr_train.text.leaderboard.mandarin import mandarin_2026_11
from qasr_train.text.normalize import NORMALIZERS
from qasr_train.transcription.predictions import Prediction
from tests.text.leaderboard.helpers import needs_mandarin

RULES = NORMALIZERS["leaderboard-2026-11"]


@needs_mandarin
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2007年3月5日", "二零零七年三月五日"),
        ("我有3.5公斤蘋果", "我有三点五公斤苹果"),
        ("价格是$20", "价格是二十美元"),
        ("电话13800138000", "电话幺三八零零幺三八零零零"),
        ("29¾", "二十九 四分之三"),
        ("二〇〇七年", "二零零七年"),
        ("他(笑)说[音乐]好 的", "他笑说好的"),
        ("下午3:30", "下午三点三十分"),
        ("增长50%", "增长百分之五十"),
        ("第3名", "第三名"),
        ("1/2", "二分之一"),
        ("-5度", "负五度"),
        ("你好，世界 Hello World", "你好 世界hello world"),
        ("漢語資訊", "汉语资讯"),
        ("Ｔ恤５件", "t恤五件"),
        ("从10-20个", "从十到二十个"),
        ("1,234元", "一千二百三十四元"),
        ("没有数字", "没有数字"),
    ],
)
def test_characters_are_simplified_and_numbers_in_words(text: str, expected: str) -> None:
    assert mandarin_2026_11(text) == expected


@needs_mandarin
def test_its_rate_is_that_of_characters() -> None:
    """Seven characters, one of them wrong; the year is the same in digits and words, the characters in both scripts."""
    row = Prediction(None, 1.0, 0.1, "二〇〇七年蘋果", "2007年 苹樹", id="a", set="s", language="Chinese")
    scored = score_predictions([row], RULES)
    assert scored.overall["primary_metric"] == "cer"
    assert scored.overall["cer_percent"] == 14.29


def test_how_words_are_joined_does_not_count() -> None:
    assert RULES.join("你好 世界", "你好世界", "Chinese") == ("你好 世界", "你好世界")


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    mandarin._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(ConfigError) as error:
        RULES.normalize("你好", "Chinese")
    with pytest.raises(ConfigError):
        RULES.requires("Chinese")
    RULES.requires("English")
    assert str(error.value) == (
        "normalizer=leaderboard-2026-11: Mandarin needs opencc and wetext, and opencc is not installed; run "
        'pip install "qasr_train[mandarin]", or score it by normalizer=qasr-2'
    )
