"""What the pages, the API and the commands show, read from the database: no screen has SQL of its own."""
