"""What the environment can set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, HttpUrl, UrlConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from pydantic import ValidationError

# Azure takes a token over https only.
HttpsUrl = Annotated[HttpUrl, UrlConstraints(allowed_schemes=["https"])]
CosmosName = Annotated[str, Field(pattern=r"^[^/\\?#]{1,255}$")]


class Settings(BaseSettings):
    """The service's settings, each an environment variable of the same name in capitals; an empty one counts as not set.

    Attributes:
        port: The TCP port to listen on, 1 to 65535.
        azure_cosmos_endpoint: The Cosmos DB account's URL; None for the local emulator.
        azure_cosmos_database: The database's name.
        azure_cosmos_container: The container's name; its partition key is ``/customer_id``.
    """

    # An endpoint may turn out to be a connection string with its key: no error message repeats what was given.
    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    port: int = Field(default=8000, ge=1, le=65535)
    azure_cosmos_endpoint: HttpsUrl | None = None
    azure_cosmos_database: CosmosName = "shop"
    azure_cosmos_container: CosmosName = "orders"


def explain(error: ValidationError) -> str:
    """Tell which environment variables are wrong, a line for each, without repeating their values."""
    return "\n".join(
        f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
