"""The command line, ``dagger-edge``: one file a command, each imported only when it is used."""
