"""Settings that a user changes, and the connection to amoCRM."""

from fastapi import APIRouter

router = APIRouter()
