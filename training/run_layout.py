"""The names of the files in a run folder, for those too who look at one without PyTorch."""

RUN_FILE = "run.json"
SPLIT_FILE = "split.json"
CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.csv"
