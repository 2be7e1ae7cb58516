"""Files of times, damaged at random: segments or one sentence, never another exception."""

import random
from contextlib import suppress

import pytest

from qasr_train.errors import DataError
from qasr_train.timed.formats import FORMATS
from qasr_train.timed.tiers import elan
from tests.sources.corpora.test_beside import EAF
from tests.timed.test_formats import SEGMENTS

READERS = {name: one.segments_of for name, one in FORMATS.items() if one.segments_of} | {"eaf": elan.segments_of}
PARTS = ['"', "<", "\0", "\n\n", "\t", "-1", "9" * 30, "1e400", "nan", "-->", "[", "}", "&", "", "\\", "é"]


def damaged(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(text) + 1)
        kind = rng.random()
        if kind < 0.3:
            text = text[:place] + text[place + rng.randint(1, 20) :]
        elif kind < 0.5:
            text = text[:place] + text[place : place + 30] + text[place:]
        else:
            text = text[:place] + rng.choice(PARTS) + text[place + rng.randint(0, 1) :]
    return text


@pytest.mark.parametrize("name", READERS)
def test_damage_is_read_or_told(name: str) -> None:
    rng = random.Random(name)
    text = EAF if name == "eaf" else FORMATS[name].text_of(SEGMENTS, "a")
    num_read = 0
    for _ in range(300):
        with suppress(DataError):
            assert all(one.end_s >= one.start_s >= 0 for one in READERS[name](damaged(text, rng), "w"))
            num_read += 1
    assert 0 < num_read < 300
