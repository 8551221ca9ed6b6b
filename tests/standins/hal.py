"""amoCRM's two kinds of JSON answers.

Source: https://www.amocrm.ru/developers/content/crm_platform/error-codes
"""

from typing import Any

from starlette.responses import JSONResponse


class Hal(JSONResponse):
    media_type = "application/hal+json"


class Problem(JSONResponse):
    media_type = "application/problem+json"

    def __init__(self, status: int, title: str, detail: str, **more: Any) -> None:
        about = {
            "title": title,
            "type": f"https://httpstatus.es/{status}",
            "status": status,
            "detail": detail,
        }
        super().__init__(more | about, status)
