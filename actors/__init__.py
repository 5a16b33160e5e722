"""The supervised actors: thin loops that do I/O around the pure decisions of `book`, `persistence` and `chains`."""
