"""What names a recording between runs of `prepare`."""

import hashlib

from qasr_train.corpus.measurements import utterance_key
from qasr_train.manifest import Utterance
from tests.helpers import utterance


def test_keys_name_the_recording_and_the_span() -> None:
    base = utterance()
    assert utterance_key(base) == utterance_key(utterance(text="mended transcript"))
    assert (
        len({utterance_key(u) for u in (base, utterance(start_s=0.5), utterance(audio="v.wav"), utterance(channel=0))})
        == 4
    )


def test_a_row_without_a_channel_has_the_key_it_had_before_there_were_channels() -> None:
    # sha1 of the JSON ["u", "/a/u.wav", 0.5, null]
    assert (
        utterance_key(Utterance("u", "/a/u.wav", start_s=0.5))
        == hashlib.sha1(b'["u", "/a/u.wav", 0.5, null]').hexdigest()
    )
