"""Fine-tune a Wav2Vec 2.0 family checkpoint with CTC on a few minutes of transcribed speech."""
