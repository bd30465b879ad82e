"""``overfly compare``: several reports of one bundle."""
