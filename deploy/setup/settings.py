"""Settings of the setup step."""

from typing import Annotated

from pydantic import Field, SecretStr

from libs.common.services import SERVICES
from libs.common.settings import CommonSettings

LOGIN_ROLES = tuple(f"{service}_{kind}" for service in SERVICES for kind in ("api", "worker"))


class Settings(CommonSettings):
    """What the setup step needs beside the broker: an administrator's login and the passwords to give out."""

    superuser_database_url: Annotated[
        SecretStr,
        Field(description="Administrator's URL, naming the database to create or upgrade; only the setup step has it."),
    ]
    role_passwords: Annotated[
        dict[str, SecretStr],
        Field(description="JSON object of login role → password, one for each `<service>_api|worker`."),
    ]
    replication_factor: Annotated[int, Field(ge=1, le=5, description="Copies of each topic's partitions.")] = 1
