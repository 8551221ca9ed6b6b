"""Numbers of a day, a week, a month, a quarter, against the time before."""

from fastapi import APIRouter

router = APIRouter()
