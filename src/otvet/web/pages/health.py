"""Whether all works, in the order of what to do first."""

from fastapi import APIRouter

router = APIRouter()
