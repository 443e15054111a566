"""Where the command line finds the system: the environment first, else what the local stack wrote down."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.common.settings import CommonSettings, TidemarkSettings

LOCAL_FILE = Path(__file__).parents[1] / ".local" / "operator.env"


class OperatorSettings(TidemarkSettings):
    """The operator's settings. A token may be given instead of the secret that signs development tokens."""

    model_config = SettingsConfigDict(env_file=LOCAL_FILE)

    gateway_url: Annotated[str, Field(description="Base URL of the gateway.")] = "http://127.0.0.1:8080"
    token: Annotated[SecretStr | None, Field(description="Bearer token or API key that the commands send.")] = None
    jwt_secret: Annotated[SecretStr | None, Field(description="HS256 secret of development tokens.")] = None
    jwt_issuer: Annotated[str, Field(description="`iss` of development tokens.")] = "tidemark"
    jwt_audience: Annotated[str, Field(description="`aud` of development tokens.")] = "tidemark"
    kafka: Annotated[str, Field(description="Bootstrap servers; for `replay`.")] = "127.0.0.1:19092"
    topic_prefix: Annotated[str, Field(description="The installation's topic prefix; for `replay`.")] = ""
    warehouse_url: Annotated[SecretStr | None, Field(description="Administrator's URL of the demo warehouse.")] = None

    def messaging(self) -> CommonSettings:
        """What code that talks to the broker itself wants."""
        return CommonSettings(kafka=self.kafka, topic_prefix=self.topic_prefix)
