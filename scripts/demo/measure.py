"""Word error rate of a tiny model on synthetic sets, per language, by greedy decoding.

python scripts/demo/measure.py --checkpoint qasr_train/assets/tiny --work runs/tiny_base
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import jiwer
import torch
from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.demo.clips import ClipStore, plan_test_clips, synthesise_store
from scripts.demo.examples import Example, collate, extract_features

PUBLISHED_ENDS = [151645, 151643]  # <|im_end|> and <|endoftext|> of the published Qwen3-ASR


@dataclass(frozen=True)
class WordErrorRates:
    """Percent of words wrong, pooled over the set and per language, and percent of clips with the right language."""

    total: float
    per_language: dict[str, float]
    language_accuracy: float


def measure_wer(
    model: Qwen3ASRForConditionalGeneration,
    processor: Qwen3ASRProcessor,
    store: ClipStore,
    *,
    has_system_turn: bool = True,
) -> WordErrorRates:
    """Transcribes the whole store with the language free.  Leaves the model in its training mode."""
    waveforms = [store.audio(i) for i in range(len(store.clips))]
    outputs = transcribe(model, processor, waveforms, has_system_turn=has_system_turn)
    references = [clip.text for clip in store.clips]
    languages = [clip.language for clip in store.clips]
    hypotheses = [output["transcription"] for output in outputs]
    per_language = {}
    for language in dict.fromkeys(languages):
        rows = [i for i, name in enumerate(languages) if name == language]
        per_language[language] = 100 * jiwer.wer([references[i] for i in rows], [hypotheses[i] for i in rows])
    num_right = sum(output["language"] == name for output, name in zip(outputs, languages, strict=True))
    return WordErrorRates(100 * jiwer.wer(references, hypotheses), per_language, 100 * num_right / len(languages))


def transcribe(
    model: Qwen3ASRForConditionalGeneration,
    processor: Qwen3ASRProcessor,
    waveforms: list,
    batch_size: int = 24,
    *,
    has_system_turn: bool = True,
) -> list[dict[str, str | None]]:
    """[S] float32 waveforms -> dicts with `language` and `transcription`, in order.

    has_system_turn: under an empty one, as trained and evaluated; else none, as `vllm serve` asks."""
    outputs = []
    for start in range(0, len(waveforms), batch_size):
        batch = waveforms[start : start + batch_size]
        generated = _generate(model, processor, batch, has_system_turn=has_system_turn, max_new_tokens=60)
        outputs += processor.decode(generated, return_format="parsed")
    return outputs


def count_not_ended(
    model: Qwen3ASRForConditionalGeneration,
    processor: Qwen3ASRProcessor,
    waveforms: list,
    num_tokens: int,
    batch_size: int = 24,
    *,
    has_system_turn: bool = True,
) -> int:
    """In how many of the clips anything but ends follows the first end, or none comes, where nobody stops at it.

    qwen-asr and crispasr know the published end tokens alone, and go on to their limit; what they skip in decoding are ends.
    """
    end, num_failed = processor.tokenizer.eos_token_id, 0
    for start in range(0, len(waveforms), batch_size):
        batch = waveforms[start : start + batch_size]
        settings = {"max_new_tokens": num_tokens, "eos_token_id": PUBLISHED_ENDS}
        rows = _generate(model, processor, batch, has_system_turn=has_system_turn, **settings).tolist()
        num_failed += sum(end not in ids or any(token != end for token in ids[ids.index(end) :]) for ids in rows)
    return num_failed


@torch.inference_mode()
def _generate(
    model: Qwen3ASRForConditionalGeneration,
    processor: Qwen3ASRProcessor,
    waveforms: list,
    *,
    has_system_turn: bool,
    **settings: object,
) -> torch.Tensor:
    """What is written behind the prompts, [B, T] token ids, greedy.  Leaves the model in its training mode."""
    was_training = model.training
    model.eval()
    context = "" if has_system_turn else None
    rows = [Example(extract_features(samples, processor), "", "", context) for samples in waveforms]
    batch = collate(rows, processor, is_prompt_only=True)
    generated = model.generate(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        input_features=batch.features.to(model.dtype),
        input_features_mask=batch.features_mask,
        do_sample=False,
        **settings,
    )
    model.train(was_training)
    return generated[:, batch.input_ids.shape[1] :]


def main() -> None:
    """Measures a saved checkpoint on sets that training did not look at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the synthesised audio")
    parser.add_argument("--clips-per-language", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--no-system-turn", action="store_true", help="ask as `vllm serve` does")
    parser.add_argument(
        "--past-end", type=int, metavar="TOKENS", help="write so many, and see whether ends alone follow the end"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    processor = AutoProcessor.from_pretrained(arguments.checkpoint)
    model = Qwen3ASRForConditionalGeneration.from_pretrained(arguments.checkpoint, dtype=torch.float32)
    for name, is_held_out in (("trained timbres", False), ("new timbres", True)):
        plan = plan_test_clips(arguments.clips_per_language, arguments.seed + is_held_out, is_held_out)
        store = synthesise_store(plan, arguments.work / f"test_{int(is_held_out)}", num_processes=1)
        if arguments.past_end:
            waveforms = [store.audio(i) for i in range(len(store.clips))]
            num_failed = count_not_ended(
                model, processor, waveforms, arguments.past_end, has_system_turn=not arguments.no_system_turn
            )
            print(f"{name}: in {num_failed} of {len(waveforms)} clips not ends alone follow the end")
            continue
        rates = measure_wer(model, processor, store, has_system_turn=not arguments.no_system_turn)
        per_language = ", ".join(f"{language} {value:.1f}" for language, value in rates.per_language.items())
        print(f"{name}: WER {rates.total:.1f} % ({per_language}); language right in {rates.language_accuracy:.1f} %")


if __name__ == "__main__":
    main()
