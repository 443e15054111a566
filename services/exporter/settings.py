"""Settings of exporter."""

from libs.common.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing beyond what every service reads."""
