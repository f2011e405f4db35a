"""Two more heads on the encoder of a checkpoint: a keyword classifier and a speaker embedding."""
