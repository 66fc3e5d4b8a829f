"""How a theft and a detection are measured: logs, replays, counts."""
