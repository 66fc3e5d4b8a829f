"""What an oracle can be: a victim in this process, a remote server, a recording."""
