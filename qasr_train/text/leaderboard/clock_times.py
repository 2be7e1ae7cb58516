"""Owns clock times in English as `leaderboard-2026-11` reads them: spoken and written ones become the same digits.

Input: lower-case text with at most two spaces in a row. Output: the text with "half past five" as "5:30", "five o'clock" and
"05:00" as "5"; later steps make a space of the colon. Hours are 0 to 23, minutes 0 to 59; anything else stays as it is written.
"""

import re

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
_VALUES = {word: value for value, word in enumerate(_SMALL)} | _TENS

_NUMBER = rf"(?:[0-9]{{1,2}}|(?:{'|'.join(_TENS)})(?:[ -]+(?:{'|'.join(_SMALL[1:10])}))?|{'|'.join(_SMALL)})"
_CLOCK = r"o *['\u2019]? *clock"
_NOT_INSIDE = r"(?<![\w.:])"
_RELATIVE = re.compile(
    rf"{_NOT_INSIDE}(half|(?:a +)?quarter|{_NUMBER} +minutes?) +(past|after|to|before) +({_NUMBER})(?: +{_CLOCK})?\b"
)
_ON_THE_HOUR = re.compile(rf"{_NOT_INSIDE}({_NUMBER}) +{_CLOCK}\b")
_WRITTEN = re.compile(r"(?<![\w:./])([01]?[0-9]|2[0-3]):([0-5][0-9])(?![\w:]|\.[0-9])")
_NUM_HOURS, _NUM_MINUTES = 24, 60


def times_to_digits(text: str) -> str:
    """Clock times of lower-case English text as `H:MM`, full hours as `H`."""
    text = _RELATIVE.sub(_relative, text)
    text = _ON_THE_HOUR.sub(_on_the_hour, text)
    return _WRITTEN.sub(lambda match: _written(int(match[1]), int(match[2])), text)


def _relative(match: re.Match[str]) -> str:
    amount, relation, hour = match[1], match[2], _value(match[3])
    minute = 30 if amount == "half" else 15 if amount.endswith("quarter") else _value(amount.rpartition(" ")[0])
    if hour >= _NUM_HOURS or minute >= _NUM_MINUTES:
        return match[0]
    if relation in ("to", "before") and minute:
        # Of a twelve-hour clock the hour before 1 is 12, of any other hour the one before it.
        hour, minute = (12 if hour == 1 else (hour - 1) % _NUM_HOURS), _NUM_MINUTES - minute
    return f"{hour}:{minute:02d}"


def _on_the_hour(match: re.Match[str]) -> str:
    hour = _value(match[1])
    return f"{hour}:00" if hour < _NUM_HOURS else match[0]


def _written(hour: int, minute: int) -> str:
    return f"{hour}:{minute:02d}" if minute else str(hour)


def _value(number: str) -> int:
    """Of digits, or of words up to "fifty nine"."""
    number = number.strip()
    return int(number) if number.isdecimal() else sum(_VALUES[word] for word in number.replace("-", " ").split())
