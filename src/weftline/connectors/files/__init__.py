"""Files: a watched drop folder, and the same road for a file named on the command line."""
