"""`karmma serve`: an HTTP API around a student, and a web page on it."""
