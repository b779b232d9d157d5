"""The run: its processes, folder, loop, checkpoints, signals, log and end."""
