"""``overfly paper``: the paper's tables, reproduced."""
