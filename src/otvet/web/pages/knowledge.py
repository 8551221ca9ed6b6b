"""What the assistant knows: files, entries, gaps, instructions."""

from fastapi import APIRouter

router = APIRouter()
