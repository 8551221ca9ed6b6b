"""Notices: in the browser and elsewhere."""

from fastapi import APIRouter

router = APIRouter()
