"""Speech to train on: the manifest, clip stores, texts, synthetic speech, augmentation and batches."""
