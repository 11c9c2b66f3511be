"""Read models, for messages that are compared with them."""

from tests.projections.conftest import read_models

__all__ = ["read_models"]
