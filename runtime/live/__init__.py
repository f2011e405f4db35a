"""Live captions: sound comes in block by block, events come out while it is still being spoken.

source → backlog → session → decoder → events → files
(microphone)      (engine)  (no sound card, no engine, no clock)
"""
