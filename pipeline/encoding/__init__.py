"""What all encoders share: their checkpoints, the pixels that they see, and batches through them."""
