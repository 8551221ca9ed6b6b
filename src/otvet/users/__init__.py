"""The people who use the pages: users, their sessions, invitations, the tokens of programs, and who did what."""
