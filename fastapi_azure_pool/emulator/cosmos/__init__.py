"""Azure Cosmos DB for NoSQL over HTTP: the gateway's REST interface, as the official SDK speaks to it."""
