"""One file = one complete run: the typed schema, and the YAML loader whose errors name file, line and key."""

from mm.config.load import RawConfig, load_config, load_raw, validate
from mm.config.schema import RunConfig

__all__ = ["RawConfig", "RunConfig", "load_config", "load_raw", "validate"]
