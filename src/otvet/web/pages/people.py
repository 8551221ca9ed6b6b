"""Users, invitations, sessions, tokens of programs, and who did what."""

from fastapi import APIRouter

router = APIRouter()
