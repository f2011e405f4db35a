"""Serve a Model by a web page, APIs and sockets, or on a cluster; needs the extra [serve]."""
