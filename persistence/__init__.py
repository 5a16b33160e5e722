"""What is on disk: the request log and everything that is kept beside it."""
