"""One file per Azure service, and what they share. Importing this package loads no SDK."""
