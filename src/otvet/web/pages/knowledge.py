"""The knowledge folder: its files and entries as they are understood, uploaded, edited, tried."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from otvet.errors import UsageError
from otvet.i18n import N_, _, language_of, translator
from otvet.responders.base import Line
from otvet.responders.knowledge import passages
from otvet.responders.knowledge.reading import kinds
from otvet.responders.template import THANKS
from otvet.staff import knowledge_files
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Manager, Refused, Viewer, Who, change, service_of

router = APIRouter()

NO_FILE = N_("there is no such file in the knowledge folder")
NOTHING_CHOSEN = N_("choose a file first")
MOST_SHOWN = 5
LONGEST_QUESTION = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of the folder. path: of its page; None if its name cannot stand in an address."""

    name: str
    path: str | None
    entries: int
    problem: str
    changed_at: datetime | None


def folder_of(request: Request) -> Path:
    return service_of(request).settings.knowledge_dir


def with_examples(request: Request) -> bool:
    """Whether the examples that came with Otvet answer: only until an account is connected."""
    return not service_of(request).settings.amocrm_connected


def address_of_file(name: str) -> str:
    return f"/knowledge/files/{quote(name)}"


def _listed(folder: Path, *, examples: bool) -> list[Listed]:
    found, problems = passages.read_folder(folder, with_examples=examples)
    why, entries = {one.file: one.reason for one in problems}, Counter(one.file for one in found)
    return [
        Listed(
            name=name.encode("utf-8", "replace").decode(),
            path=address_of_file(name) if _is_text(name) else None,
            entries=entries[name],
            problem=why.get(name, ""),
            changed_at=_changed_at(file),
        )
        for file in passages.files(folder)
        for name in [passages.name_of(folder, file)]
    ]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _changed_at(file: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return None


async def tried(request: Request, text: str) -> dict[str, Any] | None:
    """What the folder has for a question, and what the client is told without an AI; None without a question."""
    text = text.strip()[:LONGEST_QUESTION]
    if not text:
        return None
    service = service_of(request)
    question = [Line("client", text, service.clock.now())]
    near = await asyncio.to_thread(service.knowledge.explained, question, MOST_SHOWN)
    answer = await asyncio.to_thread(service.knowledge.answer, question)
    told = answer.told if answer else translator(language_of(text))(THANKS)
    return {"question": text, "near": near, "answer": answer, "told": told}


@router.get("/knowledge")
async def files(request: Request, who: Viewer) -> Response:
    return await _files(request, who, 200)


async def _files(request: Request, who: Who, status: int, why: str | None = None) -> Response:
    folder = folder_of(request)
    listed = await asyncio.to_thread(_listed, folder, examples=with_examples(request))
    ask = request.query_params.get("ask", "")
    gone = request.query_params.get("gone")
    values = {"files": listed, "folder": folder, "exists": folder.is_dir(), "why": why, "gone": gone}
    values["kinds"] = kinds.KINDS
    return page(request, "knowledge.html", status, who=who, ask=ask, tried=await tried(request, ask), **values)


@router.post("/knowledge/upload")
async def upload(request: Request, who: Manager) -> Response:
    """Take a file into the folder: under a number if its name is taken, unless the form says to replace."""
    given = who.form.get("file")
    if not isinstance(given, UploadFile) or not given.filename:
        return await _files(request, who, 422, _(NOTHING_CHOSEN))
    content = await given.read(knowledge_files.LARGEST + 1)
    folder = folder_of(request)
    try:
        wanted = knowledge_files.safe_name(given.filename)
        there = knowledge_files.read(folder, wanted) if who.text("replace") else None
        name = wanted if there else knowledge_files.free_name(folder, wanted)
        await _save(request, who, name, content, there.digest if there else knowledge_files.NEW)
    except UsageError as error:
        return await _files(request, who, 422, str(error))
    was = f"?was={quote(wanted)}" if name != wanted else "?saved=1"
    return RedirectResponse(address_of_file(name) + was, 303)


async def _save(request: Request, who: Who, name: str, content: bytes, began_from: str) -> None:
    """Save a file; what was saved is noted, and asked from then on."""
    await asyncio.to_thread(knowledge_files.save, folder_of(request), name, content, began_from)
    service_of(request).knowledge.look_again()
    did = "knowledge-edit" if began_from else "knowledge-add"
    await change(request, who, did, name[:200], lambda _connection: True, bytes=len(content))


def _file(request: Request, name: str) -> knowledge_files.File:
    found = knowledge_files.read(folder_of(request), name)
    if found is None:
        raise Refused(404, _(NO_FILE))
    return found


def _understood(request: Request, name: str, content: bytes) -> dict[str, Any]:
    entries, problem = passages.understood(name, content, with_examples=with_examples(request))
    return {"entries": entries, "problem": problem}


async def _file_page(
    request: Request,
    who: Who,
    file: knowledge_files.File,
    status: int = 200,
    *,
    text: str | None = None,
    why: str | None = None,
    theirs: str | None = None,
) -> Response:
    """A file with its entries. text: what was typed and is not saved. theirs: what somebody else saved meanwhile."""
    content = file.content if text is None else knowledge_files.encoded(file.name, text)
    understood = await asyncio.to_thread(_understood, request, file.name, content)
    ask = request.query_params.get("ask", "")
    values: dict[str, Any] = {"text": file.text if text is None else text, "digest": file.digest, "name": file.name}
    values |= {"why": why, "theirs": theirs, "unsaved": text is not None, "address": address_of_file(file.name)}
    values |= {"was": request.query_params.get("was"), "saved": request.query_params.get("saved")}
    tried_ = await tried(request, ask)
    return page(request, "knowledge_file.html", status, who=who, ask=ask, tried=tried_, **values, **understood)


@router.get("/knowledge/files/{name:path}")
async def one(request: Request, who: Viewer, name: str) -> Response:
    return await _file_page(request, who, _file(request, name))


@router.post("/knowledge/files/{name:path}/delete")
async def delete(request: Request, who: Manager, name: str) -> Response:
    file = _file(request, name)
    try:
        await asyncio.to_thread(knowledge_files.remove, folder_of(request), name, who.text("digest"))
    except UsageError as error:
        return await _file_page(request, who, file, 409, why=str(error))
    service_of(request).knowledge.look_again()
    await change(request, who, "knowledge-delete", name[:200], lambda _connection: True)
    return RedirectResponse(f"/knowledge?gone={quote(name)}", 303)


@router.post("/knowledge/files/{name:path}")
async def save(request: Request, who: Manager, name: str) -> Response:
    """Save what was edited, unless somebody else has saved meanwhile."""
    file, text = _file(request, name), who.text("text")
    if "preview" in who.form:
        return await _file_page(request, who, file, text=text)
    try:
        await _save(request, who, name, knowledge_files.encoded(name, text), who.text("digest") or "?")
    except UsageError as error:
        now = _file(request, name)
        theirs = now.text if now.digest != who.text("digest") else None
        return await _file_page(request, who, now, 409, text=text, why=str(error), theirs=theirs)
    return RedirectResponse(f"{address_of_file(name)}?saved=1", 303)


@router.get("/knowledge/new")
async def new(request: Request, who: Manager) -> Response:
    return await _new_page(request, who, 200, "", "")


async def _new_page(request: Request, who: Who, status: int, name: str, text: str, why: str | None = None) -> Response:
    content = text.encode("utf-8", errors="replace")
    understood = await asyncio.to_thread(_understood, request, _name_or_any(name), content)
    if not text.strip():
        understood["problem"] = ""
    return page(request, "knowledge_new.html", status, who=who, name=name, text=text, why=why, **understood)


def _name_or_any(name: str) -> str:
    try:
        return knowledge_files.safe_name(name)
    except UsageError:
        return "new.md"


@router.post("/knowledge/new")
async def add(request: Request, who: Manager) -> Response:
    name, text = who.text("name"), who.text("text")
    if "preview" in who.form:
        return await _new_page(request, who, 200, name, text)
    try:
        safe = knowledge_files.safe_name(name)
        await _save(request, who, safe, knowledge_files.encoded(safe, text), knowledge_files.NEW)
    except UsageError as error:
        return await _new_page(request, who, 422, name, text, str(error))
    return RedirectResponse(f"{address_of_file(safe)}?saved=1", 303)


@router.post("/knowledge/preview")
async def preview(request: Request, who: Manager) -> Response:
    """What is typed, as it would be understood and sent."""
    safe = _name_or_any(who.text("name"))
    content = knowledge_files.encoded(safe, who.text("text"))
    understood = await asyncio.to_thread(_understood, request, safe, content)
    return page(request, "_entries.html", who=who, **understood)
