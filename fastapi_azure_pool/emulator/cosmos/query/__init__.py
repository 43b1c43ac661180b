"""The query language of Azure Cosmos DB for NoSQL: from text to syntax tree to results, page by page."""
