"""Hypotheses that share the audio and prompt of their clip: equal to rows that do not, drawn by the row's own numbers alone."""

from dataclasses import replace

import pytest
import torch

from qasr_train.batch import IGNORED, Batch, Recording
from qasr_train.models.base import Sampler
from qasr_train.models.blocks.beam import Beam
from qasr_train.models.blocks.sampling import Drawn, Said, Samples, rows_of, with_rows
from qasr_train.models.whisper.decoding import Suppression, WhisperSteps
from tests.helpers import tone, utterance
from tests.helpers_trainer import tiny_learner

WORDS = ["two small pills", "a day", "the quick brown fox"]
FAMILIES = ["qwen3_asr", "whisper"]


def make_model(family: str) -> Sampler:
    """Random weights, large enough that clips sound unlike and some rows end before others."""
    model = tiny_learner(family)
    decoder = model.module.get_submodule(model.parts.decoder)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                parameter.mul_(4)
    assert isinstance(model, Sampler)
    return model


def recordings(
    texts: list[str], *, clips: list[int] | None = None, language: str | None = "English"
) -> list[Recording]:
    """A row for each text; clips: which sound each has, of some that differ in length and pitch."""
    return [
        Recording(
            utterance(id=f"u{clip}", text=text, language=language, context="pills" if clip == 1 else None),
            tone(0.6 + 0.5 * clip, frequency_hz=200.0 + 150 * clip),
        )
        for clip, text in zip(clips or range(len(texts)), texts, strict=True)
    ]


def uniforms_of(num_clips: int, num_draws: int = 3, num_tokens: int = 12) -> torch.Tensor:
    return torch.rand(num_clips, num_draws, num_tokens, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("family", "is_packed"), [("qwen3_asr", True), ("qwen3_asr", False), ("whisper", False)])
def test_one_pass_for_all_rows_of_a_clip_gives_what_a_pass_for_each_gives(family: str, is_packed: bool) -> None:
    model = make_model(family)
    if family == "qwen3_asr":
        model.is_packed = is_packed  # type: ignore[attr-defined]
    clips = [0, 0, 1, 2, 2]
    texts = ["two small pills", "two", "a day", "the fox", "brown"]
    apart = model.collator.for_training(recordings(texts, clips=clips))
    rows = [replace(row, clip=clip) for clip, row in zip(clips, rows_of(apart), strict=True)]
    together = with_rows(model.collator.for_training(recordings(WORDS)), rows, pad_id=model.pad_id)
    assert len(together.input_features) == 3
    found = []
    for batch in (apart, together):
        logits = model(batch).logits
        trained = [parameter for parameter in model.module.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(logits.square().mean(), trained, allow_unused=True)
        found.append([logits.detach(), *(one for one in gradients if one is not None)])
    assert len(found[0]) == len(found[1]) > 20
    highest = max(float(one.abs().max()) for one in found[0])
    for alone, shared in zip(*found, strict=True):
        torch.testing.assert_close(shared, alone, rtol=1e-3, atol=1e-6 * highest)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cached_encoding_is_shared_too(family: str) -> None:
    model = make_model(family)
    batch = model.collator.for_training(recordings(WORDS))
    given = rows_of(batch)
    rows = [given[2], given[0], given[2]]
    encoded = replace(batch, encoded=model.encode(batch).detach(), input_features=batch.input_features[..., :0])
    with torch.no_grad():
        expected = model(with_rows(batch, rows, pad_id=model.pad_id)).logits
        found = model(with_rows(encoded, rows, pad_id=model.pad_id)).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_hypothesis_is_the_transcript_of_an_evaluation(family: str) -> None:
    model = make_model(family)
    rows = recordings(WORDS)
    drawn = model.draw(model.collator.for_training(rows), Samples(uniforms_of(3), 1.0), limits=[12, 12, 12])
    language = "English" if family == "whisper" else None  # of the training row: see `drawing_prompt`
    asked = model.collator.for_transcription(rows, language=language, use_context=True)
    heard = model.transcribe(asked, max_new_tokens=12)
    assert [one.draws[0].said.text for one in drawn] == [one.text for one in heard]
    assert [one.draws[0].said.num_tokens for one in drawn] == [one.num_tokens for one in heard]
    assert len({draw.ids for one in drawn for draw in one.draws}) > 6  # the others say other things


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_drawn_of_a_clip_does_not_depend_on_the_others(family: str) -> None:
    model = make_model(family)
    uniforms = uniforms_of(3)
    batch = model.collator.for_training(recordings(WORDS))
    together = model.draw(batch, Samples(uniforms, 0.8), limits=[4, 12, 8])
    for clip, limit in enumerate([4, 12, 8]):
        only = model.collator.for_training(recordings(WORDS)[clip : clip + 1])
        (alone,) = model.draw(only, Samples(uniforms[clip : clip + 1], 0.8), limits=[limit])
        assert [draw.ids for draw in alone.draws] == [draw.ids for draw in together[clip].draws]
        assert alone.prompt == together[clip].prompt
        assert max(len(draw.ids) for draw in alone.draws) <= limit
        assert all(draw.said.is_truncated == (draw.ids[-1] not in ends(model)) for draw in alone.draws)
    assert not model.module.training


def ends(model: Sampler) -> list[int]:
    return model._end_ids if model.family == "qwen3_asr" else [model.tokens.end_id]  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", FAMILIES)
def test_hypotheses_are_learned_after_the_prompt_they_were_drawn_after(family: str) -> None:
    """With a temperature so low that all draws are greedy, the recomputed likeliest tokens are the hypothesis itself."""
    model = make_model(family)
    batch = model.collator.for_training(recordings(["two small pills", "", "a day"]))
    drawn = model.draw(batch, Samples(uniforms_of(3, 1), 1e-4), limits=[10] * 3)
    assert all(one.draws[0].ids == one.draws[1].ids for one in drawn)
    rows = [Said(clip, one.prompt, one.draws[0].ids) for clip, one in enumerate(drawn)]
    found = model(with_rows(batch, rows, pad_id=model.pad_id))
    logits = found.logits.detach().index_fill(-1, suppressed(model), -torch.inf)
    later = torch.cat([torch.arange(1, len(row.target)) + at for row, at in zip(rows, starts(rows), strict=True)])
    assert torch.equal(logits.argmax(-1)[later], found.targets[later])  # Whisper suppresses more at the first token


def suppressed(model: Sampler) -> torch.Tensor:
    """Tokens that are never drawn; Whisper has some, and more at the first token, which all hypotheses of a clip share."""
    tokens = list(model.generation.get("suppress_tokens") or []) if model.family == "whisper" else []  # type: ignore[attr-defined]
    return torch.tensor(tokens, dtype=torch.int64)


def starts(rows: list[Said]) -> list[int]:
    return [sum(len(row.target) for row in rows[:number]) for number in range(len(rows))]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_beam_lists_the_likeliest_first_as_a_forward_pass_of_each_tells(family: str) -> None:
    model = make_model(family)
    batch, limits = model.collator.for_training(recordings(WORDS)), [12, 5, 12]
    drawn = model.draw(batch, Beam(4), limits=limits)
    sampled = model.draw(batch, Samples(uniforms_of(3), 1.0), limits=limits)
    assert [one.prompt for one in drawn] == [one.prompt for one in sampled]
    rows = [
        Said(clip, one.prompt, draw.ids)
        for clip, (beam, greedy) in enumerate(zip(drawn, sampled, strict=True))
        for one, draw in [*((beam, draw) for draw in beam.draws), (greedy, greedy.draws[0])]
    ]
    found = model(with_rows(batch, rows, pad_id=model.pad_id))
    logits = found.logits.detach().index_fill(-1, suppressed(model), -torch.inf)
    log_probs = logits.log_softmax(-1).gather(-1, found.targets[:, None])[:, 0]
    totals = torch.zeros(len(rows)).index_add(0, found.row, log_probs).view(3, 5).tolist()
    for clip, one in enumerate(drawn):
        assert len({draw.ids for draw in one.draws}) == 4
        assert all(draw.said.is_truncated == (draw.ids[-1] not in ends(model)) for draw in one.draws)
        assert all(len(draw.ids) <= limits[clip] for draw in one.draws)
        ended = [total for total, draw in zip(totals[clip], one.draws, strict=False) if not draw.said.is_truncated]
        assert ended == sorted(ended, reverse=True)
        if ended and not sampled[clip].draws[0].said.is_truncated:
            assert ended[0] >= totals[clip][4] - 1e-4


def test_a_whisper_is_told_the_language_also_of_silence_and_of_unknown_rows() -> None:
    model = make_model("whisper")
    tokens = model.tokens  # type: ignore[attr-defined]
    known = model.collator.for_training(recordings(["a day", ""]))
    unknown = model.collator.for_training(recordings(["a day"], language=None))
    prompts = [
        one.prompt
        for batch in (known, unknown)
        for one in model.draw(batch, Samples(uniforms_of(len(batch), 1), 1.0), limits=[3] * len(batch))
    ]
    assert list(prompts[0]) == [tokens.sot_id, *tokens.after_start("English")]
    for prompt in prompts[1:]:  # by what the model hears, behind a context of one of them
        told = list(prompt)[list(prompt).index(tokens.sot_id) + 1 :]
        assert told[0] in model.language_names and told[1:] == tokens.after_start("English")[1:]  # type: ignore[attr-defined]


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_tokens_are_drawn_as_often_as_they_are_probable(temperature: float) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -torch.inf, 9.0])
    num_draws = 4000
    numbers = (torch.arange(num_draws, dtype=torch.float64) + 0.5) / num_draws
    chooser = Drawn(numbers[None, :, None], temperature=temperature, never=4)
    chosen = chooser(logits.expand(num_draws + 1, 5))
    expected = (logits[:4] / temperature).softmax(-1)
    assert int(chosen.ids[0]) == 2
    shares = torch.bincount(chosen.ids[1:], minlength=4) / num_draws
    torch.testing.assert_close(shares, expected, rtol=0, atol=1.0 / num_draws)
    torch.testing.assert_close(
        chosen.log_probs, logits.log_softmax(-1)[chosen.ids]
    )  # of the model, not of the temperature


def test_rows_come_back_as_they_went_in() -> None:
    model = tiny_learner("qwen3_asr")
    batch: Batch = model.collator.for_training(recordings(WORDS))
    again = with_rows(batch, rows_of(batch), pad_id=model.collator.pad_id)  # type: ignore[attr-defined]
    assert torch.equal(again.input_ids, batch.input_ids) and torch.equal(again.labels, batch.labels)
    assert torch.equal(again.attention_mask, batch.attention_mask)
    assert int((again.labels != IGNORED).sum()) == again.num_targets


def test_whisper_moves_the_sound_of_a_row_only_to_where_another_was_heard() -> None:
    """The sound is some hundred times what was said: a beam that moves rows within their clips leaves it where it is."""
    core = make_model("whisper").core  # type: ignore[attr-defined]
    states = torch.randn(2, 5, core.config.d_model, generator=torch.Generator().manual_seed(0))
    steps = WhisperSteps(core, states, None, Suppression([], [], torch.device("cpu")), num_positions=8)
    [first, *_] = [layer.sound[0] for layer in steps.layers]
    steps.spread(torch.tensor([0, 0, 1, 1]))
    assert torch.equal(steps.layers[0].sound[0], first[[0, 0, 1, 1]])
    with torch.no_grad():
        steps.extend(torch.tensor([[1], [2], [3], [4]]), torch.ones(4, 1, dtype=torch.bool))
    spread, told = steps.layers[0].sound[0], steps.layers[0].store[0, :, :, :1]
    steps.spread(torch.tensor([1, 0, 3, 3]))
    assert steps.layers[0].sound[0] is spread
    assert torch.equal(steps.layers[0].store[0, :, :, :1], told[[1, 0, 3, 3]])
    for rows, clips in (([1, 2, 3, 2], [0, 1, 1, 1]), ([0, 3], [0, 1]), ([1, 0], [1, 0])):
        steps.spread(torch.tensor(rows))
        assert torch.equal(steps.layers[0].sound[0], first[clips])
