"""An order service, as a team would write it on fastapi-azure-pool: ``python -m example_app``, or ``make demo``."""
