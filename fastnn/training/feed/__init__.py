"""What training reads: checked data, the order of its rows, batches, streams, augmentation."""
