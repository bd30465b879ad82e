"""Pictures of what speaks for an answer: class activation maps, and their drawing."""
