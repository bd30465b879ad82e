"""The training loop: steps, augmentation, checkpoints, interruption."""
