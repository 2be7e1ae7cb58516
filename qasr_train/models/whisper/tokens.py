"""Owns what Whisper's decoder is given and what it is taught, as token ids: prompt and target of one utterance.

Input: a tokenizer and the checkpoint's generation_config.json. Output: `TokenRow`s. The order is that of Radford et al. 2022,
figure 1: [<|startofprev|> context] <|startoftranscript|> language task <|notimestamps|> text <|endoftext|>, and
<|nospeech|> in the place of the language where nobody speaks.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPER_LANGUAGES

from qasr_train.errors import CheckpointError, ConfigError, DataError
from qasr_train.manifest import Utterance
from qasr_train.models.blocks.rows import TokenRow
from qasr_train.text.alternatives.notation import first_spelling
from qasr_train.text.languages import resolve_language

# The first letters of a text in a script written without spaces: Whisper begins those without the space all others begin with.
_WITHOUT_SPACES = ("\u0e00-\u0eff", "\u1000-\u109f", "\u1780-\u17ff", "\u3000-\u30ff", "\u3400-\u9fff", "\uf900-\ufaff")
_RANGES = [(one[0], one[-1]) for one in _WITHOUT_SPACES]
_MULTILINGUAL_VOCAB = 51865
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")  # two names of one token, by the age of the tokenizer


class WhisperTokens:
    """Makes token rows for one checkpoint. sot_id: its start of a transcript; end_id: its end.

    language_ids: name -> token; {} in an English-only checkpoint. no_speech_id: None where the tokenizer has no such token.
    """

    def __init__(
        self, tokenizer: Any, generation: Mapping[str, Any], *, num_positions: int, supervise_language: bool = False
    ) -> None:
        """generation: the checkpoint's generation_config.json. num_positions: of the decoder, 448 in all published models.

        supervise_language: whether language, task and no-timestamps tokens are part of the target instead of the prompt.

        Raises:
            ConfigError: the language is to be taught to an English-only checkpoint.
        """
        self.tokenizer, self.num_positions, self.supervise_language = tokenizer, num_positions, supervise_language
        self.sot_id = int(generation["decoder_start_token_id"])
        self.end_id = int(tokenizer.eos_token_id)
        self.language_ids = {language_name(token): id_ for token, id_ in (generation.get("lang_to_id") or {}).items()}
        self._transcribe_id = (generation.get("task_to_id") or {}).get("transcribe")
        self._no_timestamps_id = generation.get("no_timestamps_token_id")
        vocab = tokenizer.get_vocab()
        self.no_speech_id = next((vocab[name] for name in _NO_SPEECH if name in vocab), None)
        self._prev_id = vocab.get("<|startofprev|>")
        if supervise_language and not self.is_multilingual:
            raise ConfigError(
                "model.supervise_language=true: this Whisper checkpoint knows English only and has no language tokens; set it "
                "to false, or start from a multilingual checkpoint"
            )

    @property
    def is_multilingual(self) -> bool:
        """Whether the checkpoint knows languages besides English."""
        return bool(self.language_ids)

    @property
    def max_target_tokens(self) -> int:
        """The most that a target may have, so that the decoder has a position for it and for the shortest prompt."""
        return self.num_positions - len(self.training_row(None, "a", None).prompt)

    def training_row(self, language: str | None, text: str, context: str | None) -> TokenRow:
        """Prompt and target of a transcript, which is the text as it stands; the context is cut to what room there is.

        The language of a row that does not state one stands as a second start token, which the model replaces by the language it
        hears (`fill_languages`). Raises as `language_id`.
        """
        if not text and self.no_speech_id is not None:
            start, target = [self.sot_id], [self.no_speech_id, self.end_id]
        else:
            start, target = [self.sot_id, *self.after_start(language)], [*self.encode(text), self.end_id]
            if self.supervise_language and language is not None:
                start, target = start[:1], start[1:] + target
        return TokenRow([*self.context_ids(context, beside=len(start) + len(target)), *start], target)

    def drawing_prompt(self, prompt: Sequence[int], target: Sequence[int]) -> list[int]:
        """The prompt of a training row as hypotheses are drawn after it: language, task and no timestamps are always told.

        Of a row without speech, and of one that states no language, a second start token stands for the language; see
        `training_row`. target: the row's.
        """
        if prompt[-1] != self.sot_id or prompt[-2:-1] == [self.sot_id]:
            return list(prompt)
        is_taught = self.supervise_language and target[0] in self.language_ids.values()
        language_id = (target[0] if is_taught else self.sot_id) if self.is_multilingual else None
        return [*prompt, *self.after_language(language_id)]

    def after_start(self, language: str | None) -> list[int]:
        """Language and task (multilingual checkpoints only), no timestamps; raises as `language_id`."""
        if not self.is_multilingual:
            self.language_id(language)
            return self.after_language(None)
        return self.after_language(self.sot_id if language is None else self.language_id(language))

    def after_language(self, language_id: int | None) -> list[int]:
        """The same by the token of the language, None in an English-only checkpoint."""
        told = [] if language_id is None else [language_id, self._transcribe_id]
        return [int(id_) for id_ in (*told, self._no_timestamps_id) if id_ is not None]

    def context_ids(self, context: str | None, *, beside: int) -> list[int]:
        """`<|startofprev|>` and the last tokens of a context, at most half the positions and what is left `beside` others.

        After a space in every script, as OpenAI's `initial_prompt` and transformers' `get_prompt_ids` have it.
        """
        room = min(self.num_positions // 2, self.num_positions - beside) - 1
        if not (context and context.strip()) or self._prev_id is None or room < 1:
            return []
        return [self._prev_id, *self._ids(f" {context.strip()}")[-room:]]

    def encode(self, text: str) -> list[int]:
        """A text as Whisper says it: after a space, unless its script has none. What looks like a special token is text."""
        if not text:
            return []
        begins_bare = any(first <= text[0] <= last for first, last in _RANGES)
        return self._ids(text if begins_bare else f" {text}")

    def language_id(self, language: str | None) -> int | None:
        """The token of a language; None in an English-only checkpoint.

        Raises:
            ConfigError: the checkpoint does not know the language.
        """
        if not self.is_multilingual:
            if language in (None, "English"):
                return None
            raise ConfigError("this Whisper checkpoint knows English only")
        if language not in self.language_ids:
            raise ConfigError(
                f"this Whisper checkpoint has no token for it, but for {', '.join(sorted(self.language_ids))}"
            )
        return self.language_ids[language]

    def _ids(self, spoken: str) -> list[int]:
        return self.tokenizer(spoken, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def require_languages(self, languages: Collection[str], where: str) -> None:
        """Refuse languages that cannot be taught to this checkpoint.

        Raises:
            ConfigError: names `where`, the language and what to do.
        """
        for language in sorted(languages):
            try:
                self.language_id(language)
            except ConfigError as error:
                under = f"under the token of a language that it has and nobody needs from it: {where}.language=NAME"
                if not self.is_multilingual:
                    under = f"as English: {where}.language=English"
                raise ConfigError(
                    f"{where}: holds rows in {language}, and {error}; start from a multilingual checkpoint, or teach them {under}"
                ) from None


def transcript_of(utterance: Utterance) -> str:
    """The transcript that is taught; of one with several right spellings, the first.

    Raises:
        DataError: it is not known, or opens alternatives and does not close them.
    """
    if utterance.text is None:
        where = f"{utterance.origin}: " if utterance.origin else ""
        raise DataError(f"{where}utterance {utterance.id!r} has no transcript; training needs `text` in every row")
    return first_spelling(utterance.text).strip()


def language_name(token: str) -> str:
    """The name of Whisper's language token: ours where we have one ("<|tl|>" is Filipino), else Whisper's own."""
    code = token.strip("<|>")
    try:
        return resolve_language(code, where="whisper") or code
    except DataError:
        return WHISPER_LANGUAGES.get(code, code).title()


def require_generation(file: Any, generation: Mapping[str, Any], *, vocab_size: int) -> None:
    """Refuse a generation_config.json that does not say what the prompt is made of (CheckpointError).

    vocab_size: of the model. Multilingual ones had 51,865 tokens or more from the beginning, English-only ones 51,864; files of
    2022 do not name the languages, and a model would silently be taken for English only.
    """
    if "decoder_start_token_id" not in generation:
        raise CheckpointError(
            f"{file}: missing, or without decoder_start_token_id, so the prompt is not known; copy it from the source"
        )
    is_multilingual = generation.get("is_multilingual", vocab_size >= _MULTILINGUAL_VOCAB)
    if is_multilingual and not generation.get("lang_to_id"):
        raise CheckpointError(
            f"{file}: of a multilingual checkpoint, but without lang_to_id, as old versions of transformers wrote it, so its "
            "languages are not known; copy the file from the published model of the same size"
        )
