"""Networks in torch: `create_model` by name, `load_weights` by key."""

from __future__ import annotations

from edgeseg.models.registry import create_model, list_models
from edgeseg.models.weights import load_weights, save_weights

__all__ = ["create_model", "list_models", "load_weights", "save_weights"]
