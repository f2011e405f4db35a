"""Bundle and audio in, text out. Needs numpy; an engine comes as an extra."""
