"""Event Grid's custom topics."""
