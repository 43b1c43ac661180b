"""Long runs after which nothing may be left: ``python -m tests.soak``."""
