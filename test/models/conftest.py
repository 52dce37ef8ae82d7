"""Networks whose weights are made from the names of their keys."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from internimage_perception.models import create_model


@pytest.fixture(scope="session")
def build(recipe: ModuleType) -> Callable[..., torch.nn.Module]:
    """Return a function: configuration to a network with reference weights, in evaluation mode."""

    def make(configuration: object) -> torch.nn.Module:
        model = create_model(configuration)
        state = model.state_dict()
        model.load_state_dict(
            {k: torch.from_numpy(recipe.weight(k, tuple(v.shape))) for k, v in state.items()}
        )
        return model.eval()

    return make
