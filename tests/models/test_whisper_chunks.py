"""Whisper's encoder takes its rows a few at a time on a CPU without autograd: the states are those of all rows at once."""

import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from qasr_train.models.whisper.encoder import encode_windows

WIDTHS = [75, 900, 1024, 600, 50]  # two rows of up to 1,024 positions make a chunk


def tiny_encoder() -> WhisperEncoder:
    torch.manual_seed(0)
    settings = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=8
    )
    settings._attn_implementation = "sdpa"
    return WhisperEncoder(settings).eval()


def test_rows_in_chunks_have_the_states_of_all_rows_at_once():
    encoder, calls = tiny_encoder(), []
    encoder.layers[0].register_forward_pre_hook(lambda _, given: calls.append(tuple(given[0].shape[:2])))
    features = torch.randn(len(WIDTHS), 8, 2 * max(WIDTHS) + 2)
    at_once = encode_windows(encoder, features, WIDTHS, recompute_convolutions=False)
    with torch.no_grad():
        in_chunks = encode_windows(encoder, features, WIDTHS, recompute_convolutions=False)
    assert calls == [(5, 1024), (2, 900), (2, 1024), (1, 50)]
    assert in_chunks.shape == at_once.shape
    for chunked, whole, width in zip(in_chunks, at_once, WIDTHS, strict=True):
        torch.testing.assert_close(chunked[:width], whole[:width], atol=1e-5, rtol=1e-5)


def test_a_whole_window_by_itself_has_the_states_of_transformers_own_encoder():
    encoder = tiny_encoder()
    features = torch.randn(2, 8, 3000)
    with torch.no_grad():
        states = encode_windows(encoder, features, [1500, 1500], recompute_convolutions=False)
        expected = encoder(features).last_hidden_state
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
