"""The faces of the exchange: command line, configuration, demo."""
