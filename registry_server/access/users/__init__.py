"""Users: htpasswd files and their passwords."""
