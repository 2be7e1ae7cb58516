"""Owns names of torchvision that must be known before it is imported: a wheel from a package index is built for CUDA, and
beside a torch for CPUs its kernels do not load, and its import stops at the first name without a kernel. vLLM needs it for
what transformers imports beside images; nothing here calls a kernel.
"""

import importlib.abc
import sys

kept = []  # a torch library is gone as soon as nobody holds it


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds nothing; declares the names as torchvision is asked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name != "torchvision" or kept:
            return
        import torch

        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        kept.append(library)


sys.meta_path.insert(0, BeforeTorchvision())
