"""How good a map is: a random sample of its cells to label, and what the labels say about its accuracy and areas."""
