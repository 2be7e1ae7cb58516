"""Owns what the tokens of a row say in Whisper. Input: ids after a prompt. Output: a `Hypothesis`, an `Answer`."""

from collections.abc import Sequence
from dataclasses import replace

from qasr_train.models.base import Answer, Hypothesis
from qasr_train.models.blocks.byte_level import WrittenBytes
from qasr_train.models.blocks.greedy import RowTokens
from qasr_train.models.blocks.text_pieces import pieces_of_tokens
from qasr_train.models.whisper.tokens import WhisperTokens


class Answers:
    """Reads the rows of one checkpoint. written: what a token writes, b"" of a special one.

    language_names: of the tokens of languages; {} in an English-only checkpoint.
    """

    def __init__(self, tokens: WhisperTokens) -> None:
        self.tokens, self.written = tokens, WrittenBytes(tokens.tokenizer)
        self.language_names = {id_: name for name, id_ in tokens.language_ids.items()}

    def after(self, utterance_id: str, begun: RowTokens, new: RowTokens, prompt: Sequence[int], silent: bool) -> Answer:
        """What was said in all, of a beginning and what came after it. prompt, silent: see `said`."""
        all_of_it = begun.followed_by(new)
        said = self.said(utterance_id, all_of_it, prompt, is_silent=silent)
        tokens = all_of_it.first(said.num_tokens - (not said.is_truncated))  # without the end token
        return Answer(tokens, replace(said, num_tokens=said.num_tokens - len(begun.ids)))

    def said(self, utterance_id: str, row: RowTokens, prompt: Sequence[int], *, is_silent: bool = False) -> Hypothesis:
        """What a row says. prompt: all of it. is_silent: whether there is no speech by the threshold, whatever was decoded."""
        end_id, start = self.tokens.end_id, list(prompt).index(self.tokens.sot_id)
        is_ended = is_silent or end_id in row.ids
        kept = [] if is_silent else row.ids[: row.ids.index(end_id)] if end_id in row.ids else row.ids
        raw_text = self.tokens.tokenizer.decode(kept, skip_special_tokens=True)
        written = zip(map(self.written, kept), row.log_probs, strict=False)
        told = prompt[start + 1] if self.language_names and start + 1 < len(prompt) else None
        return Hypothesis(
            id=utterance_id,
            text=raw_text.strip(),
            language=self.language_names.get(told) if told is not None else "English",
            raw_text=raw_text,
            num_tokens=len(kept) + is_ended,
            is_truncated=not is_ended,
            log_probs=tuple(row.log_probs[: len(kept) + 1]) if row.log_probs and not is_silent else None,
            pieces=pieces_of_tokens(raw_text.strip(), written) if row.log_probs and not is_silent else None,
        )
