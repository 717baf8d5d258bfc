"""Files of a project, read with the places of everything in them -> typed specs."""
