"""The trial chat: be the client, and watch what is stored, found, written and checked."""

from fastapi import APIRouter

router = APIRouter()
