"""A toy family that trains and has nothing of Qwen3-ASR: no packing, no audio tokens, no chat template, no projector.

The energy of 20 ms frames, averaged over the clip, is added to the embedding of each character, which foretells the next one.
"""
