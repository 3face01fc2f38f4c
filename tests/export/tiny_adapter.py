"""LoRA adapters with random weights, made by peft on a tiny Gemma 3."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load(checkpoint: Path, *, dtype: str = "float32") -> Any:
    """The model in ``checkpoint``, of the class that its configuration names, read by transformers."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(checkpoint)
    kind = getattr(transformers, config.architectures[0])
    return kind.from_pretrained(checkpoint, dtype=getattr(torch, dtype)).eval()


def write_adapter(checkpoint: Path, folder: Path, *, dtype: str = "float32", **settings: Any) -> Any:
    """A random adapter for ``checkpoint`` in ``folder``; gives the PeftModel that it was saved from."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": LINEARS, **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft has much to say about tied weights
        model = get_peft_model(load(checkpoint, dtype=dtype), config)
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_magnitude_vector" in name:
                    parameter.mul_(1.3)
                elif parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype) * 0.3)
        model.save_pretrained(folder)
    return model.eval()
