"""Floor 1: a folder of labelled scenes becomes a run: data set, split, models, recipes, the loop."""
