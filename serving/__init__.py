"""The same Model behind a web page, APIs, sockets and a fleet; needs the extra [serve]."""
