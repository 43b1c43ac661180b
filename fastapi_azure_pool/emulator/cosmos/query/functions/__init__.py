"""The functions of the query language, by family."""
