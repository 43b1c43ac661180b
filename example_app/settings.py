"""What the environment can set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, HttpUrl, UrlConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from pydantic import ValidationError


def _bare(url: HttpUrl) -> HttpUrl:
    """Give a URL in which nothing is that authenticates: it shows wherever the settings do."""
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("must be the URL alone, without a user, a password, a query and a fragment")
    return url


# Azure takes a token over https only.
HttpsUrl = Annotated[HttpUrl, UrlConstraints(allowed_schemes=["https"]), AfterValidator(_bare)]
CosmosName = Annotated[str, Field(pattern=r"^[^/\\?#]{1,255}$")]
NamespaceHost = Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$")]
ContainerName = Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9]){2,62}$")]
EntityName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,258}[A-Za-z0-9])?$")]


class Settings(BaseSettings):
    """The service's settings, each an environment variable of the same name in capitals; an empty one counts as not set.

    What is in Azure is set together, or left out together, for the local emulator: orders that are kept in one of them and
    announced in the other would be of no use to anybody.

    Attributes:
        port: The TCP port to listen on, 1 to 65535.
        azure_cosmos_endpoint: The Cosmos DB account's URL; None for the local emulator.
        azure_cosmos_database: The database's name.
        azure_cosmos_container: The container's name; its partition key is ``/customer_id``.
        azure_eventhub_namespace: The host of the Event Hubs namespace, such as "shop.servicebus.windows.net"; None for the local
            emulator.
        azure_eventhub_name: The hub in which orders are announced.
        azure_servicebus_namespace: The host of the Service Bus namespace; None for the local emulator.
        azure_servicebus_queue: The queue of orders to be confirmed.
        azure_storage_blob_endpoint: The storage account's URL, such as "https://shop.blob.core.windows.net"; None for the local
            emulator.
        azure_storage_container: The container of invoices.
        azure_eventgrid_topic_endpoint: The URL of the Event Grid topic in which confirmed orders are announced; None for the local
            emulator.
        confirm_orders: Whether this process works off that queue, by default True; where requests and confirmations are to scale
            by themselves, some processes have it False.
        sweep_seconds: Seconds after which an order that was not published is published again, and between two looks for such
            orders; above 0, at most 3600, by default 30.
    """

    # An endpoint may turn out to be a connection string with its key: no error message repeats what was given.
    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    port: int = Field(default=8000, ge=1, le=65535)
    azure_cosmos_endpoint: HttpsUrl | None = None
    azure_cosmos_database: CosmosName = "shop"
    azure_cosmos_container: CosmosName = "orders"
    azure_eventhub_namespace: NamespaceHost | None = None
    azure_eventhub_name: EntityName = "order-events"
    azure_servicebus_namespace: NamespaceHost | None = None
    azure_servicebus_queue: EntityName = "confirmations"
    azure_storage_blob_endpoint: HttpsUrl | None = None
    azure_storage_container: ContainerName = "invoices"
    azure_eventgrid_topic_endpoint: HttpsUrl | None = None
    confirm_orders: bool = True
    sweep_seconds: float = Field(default=30.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _check_that_they_go_together(self) -> Self:
        places = {
            "AZURE_COSMOS_ENDPOINT": self.azure_cosmos_endpoint,
            "AZURE_EVENTHUB_NAMESPACE": self.azure_eventhub_namespace,
            "AZURE_SERVICEBUS_NAMESPACE": self.azure_servicebus_namespace,
            "AZURE_STORAGE_BLOB_ENDPOINT": self.azure_storage_blob_endpoint,
            "AZURE_EVENTGRID_TOPIC_ENDPOINT": self.azure_eventgrid_topic_endpoint,
        }
        missing = [name for name, value in places.items() if value is None]
        if missing and len(missing) < len(places):
            given = " and ".join(name for name in places if name not in missing)
            raise ValueError(
                f"{given} without {' and '.join(missing)}: set all {len(places)} for Azure, or none of them for the local emulator"
            )
        if missing and self.azure_eventhub_name == self.azure_servicebus_queue:
            raise ValueError(
                "AZURE_EVENTHUB_NAME and AZURE_SERVICEBUS_QUEUE must differ on the local emulator, which keeps hubs and queues in"
                " one namespace"
            )
        return self


def explain(error: ValidationError) -> str:
    """Tell which environment variables are wrong, a line for each, without repeating their values."""
    return "\n".join(
        # What is wrong with several of them together names them itself.
        f"{'.'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
        if problem["loc"]
        else problem["msg"].removeprefix("Value error, ")
        for problem in error.errors(include_input=False, include_url=False)
    )
