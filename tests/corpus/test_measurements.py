"""What names a recording between runs of `prepare`."""

from qasr_train.corpus.measurements import utterance_key
from tests.helpers import utterance


def test_keys_name_the_recording_and_the_span() -> None:
    base = utterance()
    assert utterance_key(base) == utterance_key(utterance(text="mended transcript"))
    assert len({utterance_key(u) for u in (base, utterance(start_s=0.5), utterance(audio="v.wav"))}) == 3
