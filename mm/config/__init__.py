"""One file = one complete run: typed schema (``schema``) and the YAML loader that names file, line and key (``load``)."""

from mm.config.load import RawConfig, load_config, load_raw, validate
from mm.config.schema import RunConfig

__all__ = ["RawConfig", "RunConfig", "load_config", "load_raw", "validate"]
