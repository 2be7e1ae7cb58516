"""Owns what a toy is given and what it is taught: energies of frames, and the bytes of the text."""

from collections.abc import Collection, Sequence

import torch
from torch import nn

from qasr_train.audio.decode import SAMPLE_RATE_HZ
from qasr_train.batch import IGNORED, Batch, Recording
from qasr_train.manifest import Utterance

FRAME_SAMPLES = 320
PAD, START, END = 0, 1, 2


class ToyCollator:
    log_mel = None  # its features are no log-mel, so nothing keeps them
    audio_id = None
    windows_s = ((1.0, 0.0),)  # it is given no more than the clip
    max_target_tokens = None

    def require_languages(self, languages: Collection[str], where: str) -> None:
        """It writes bytes, whatever the language."""

    def for_training(self, recordings: Sequence[Recording]) -> Batch:
        return self._collate(recordings, [[START, *self._target(one.utterance)] for one in recordings], supervised=True)

    def for_transcription(self, recordings: Sequence[Recording], *, language: str | None, use_context: bool) -> Batch:
        return self._collate(recordings, [[START]] * len(recordings), supervised=False)

    def num_target_tokens(self, utterance: Utterance) -> int:
        return len(self._target(utterance))

    def token_bytes(self, token_id: int) -> bytes:
        return (chr(token_id) if token_id > END else f"<{token_id}>").encode()

    def _target(self, utterance: Utterance) -> list[int]:
        return [*((utterance.text or "").encode("ascii", "replace")), END]

    def _collate(self, recordings: Sequence[Recording], rows: list[list[int]], *, supervised: bool) -> Batch:
        tokens = [torch.tensor(row) for row in rows]
        energies = [torch.from_numpy(one.waveform).split(FRAME_SAMPLES) for one in recordings]
        frames = [torch.stack([part.square().mean() for part in parts]) for parts in energies]
        input_ids = nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PAD)
        return Batch(
            ids=[one.utterance.id for one in recordings],
            input_ids=input_ids,
            attention_mask=(input_ids != PAD).long(),
            labels=input_ids.masked_fill(input_ids <= START, IGNORED) if supervised else None,
            input_features=nn.utils.rnn.pad_sequence(frames, batch_first=True)[:, None],
            input_features_mask=nn.utils.rnn.pad_sequence(
                [torch.ones(len(f)).long() for f in frames], batch_first=True
            ),
            duration_s=torch.tensor([one.num_samples / SAMPLE_RATE_HZ for one in recordings]),
        )
