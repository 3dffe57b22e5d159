"""What each verb of the command line does; karmma/cli.py names them. Heavy imports stay within functions: --help is fast."""
