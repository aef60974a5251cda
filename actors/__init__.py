"""The live desk: ``from actors import Desk; Desk("configs/live.yaml").run(duration="60s")``."""

from actors.desk import Desk

__all__ = ["Desk"]
