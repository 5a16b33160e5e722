"""The exchange's state and rules: pure, deterministic, integers only. No trio, no clock, no randomness, no sockets."""
