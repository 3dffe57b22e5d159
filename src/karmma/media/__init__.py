"""Reading and writing media in seconds. Only this room knows a decoder."""
