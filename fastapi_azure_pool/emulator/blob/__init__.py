"""Blob Storage: one account, its containers, and the blobs in them."""
