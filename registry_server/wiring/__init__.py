"""From settings to a running application; every other package may be imported here."""
