"""The instructions."""

from fastapi import APIRouter

router = APIRouter()
