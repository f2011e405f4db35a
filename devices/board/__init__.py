"""What goes into a package for a board beside the bundle: the program, its wheels, install.sh and the service."""
