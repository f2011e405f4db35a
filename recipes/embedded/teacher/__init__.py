"""The teacher: features of Whisper's encoder, the CTC head on them, and targets made of both."""
