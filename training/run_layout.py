"""The names of the files in a run folder; also for code that reads a run without PyTorch."""

RUN_FILE = "run.json"
SPLIT_FILE = "split.json"
CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.csv"
