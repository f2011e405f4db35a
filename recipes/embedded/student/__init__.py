"""The student: the small Wav2Vec 2.0, its losses and its training."""
