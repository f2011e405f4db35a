"""Live captions: sound comes in piece by piece, events go out while it is still being spoken.

capture → backlog → loop → decoder → events → savers
 (card)            (engine)  (no card, no engine, no clock)
"""
