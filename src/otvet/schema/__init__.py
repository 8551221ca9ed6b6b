"""The database's schema: its migrations, and the take-over of a file of the first version."""
