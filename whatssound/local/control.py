"""The stack's control API under `/_local/`: faults and services, for tests that are not written in Python.

Every request carries the service key, as `apikey` or as a bearer token. Bodies and answers are JSON.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from whatssound.local.billing import Usage
from whatssound.local.calls import RpcCalls
from whatssound.local.errors import LocalStackError
from whatssound.local.faults import Faults
from whatssound.local.tokens import Keyring

_Action = Callable[[dict[str, Any]], Awaitable[Any]]


class Controlled(Protocol):
    """What the control API acts on."""

    faults: Faults
    calls: RpcCalls

    def status(self) -> dict[str, Any]:
        """The state of every service."""

    def usage(self) -> Usage:
        """What hosted would have counted."""

    async def start_service(self, name: str) -> None:
        """Starts one service."""

    async def stop_service(self, name: str) -> None:
        """Stops one service."""

    async def restart_service(self, name: str) -> None:
        """Stops and starts one service."""

    async def kill_service(self, name: str) -> None:
        """Ends one service as a crash would."""


class Control:
    """Routes of the control API.

    Args:
        stack: what they act on.
        keyring: its service key opens them.
    """

    def __init__(self, stack: Controlled, keyring: Keyring) -> None:
        self._stack = stack
        self._keyring = keyring
        self._actions: dict[str, _Action] = {
            "faults/answer": self._add(stack.faults.answer),
            "faults/lose_response": self._add(stack.faults.lose_response),
            "faults/delay": self._add(stack.faults.delay),
            "faults/freeze": self._add(stack.faults.freeze),
            "faults/thaw": self._plain(stack.faults.thaw),
            "faults/clear": self._plain(stack.faults.clear),
            "faults/reseed": self._plain(stack.faults.reseed),
            "sockets/drop": self._plain(stack.faults.drop_sockets),
            "sockets/freeze": self._plain(stack.faults.freeze_sockets),
            "sockets/skip_system_ok": self._plain(stack.faults.skip_system_ok),
            "sockets/lose_sent": self._plain(stack.faults.lose_sent),
            "channels/kick": lambda arguments: stack.faults.kick(**arguments),
        }

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to drop."""

    def mount(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_get("/_local/status", self._status)
        app.router.add_post(r"/_local/services/{name}/{what:start|stop|restart|kill}", self._service)
        app.router.add_post(r"/_local/{action:(?:faults|sockets|channels)/\w+}", self._act)

    async def _status(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        usage = self._stack.usage()
        counted = {"messages": usage.messages, "connections": usage.connections, "peak": usage.peak_connections}
        rules = [rule.describe() for rule in self._stack.faults.rules]
        rest = {"usage": counted, "faults": rules, "rpc": self._stack.calls.as_json()}
        return web.json_response({**self._stack.status(), **rest})

    async def _service(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        name, what = request.match_info["name"], request.match_info["what"]
        actions = {
            "start": self._stack.start_service,
            "stop": self._stack.stop_service,
            "restart": self._stack.restart_service,
            "kill": self._stack.kill_service,
        }
        try:
            await actions[what](name)
        except LocalStackError as error:
            return web.json_response({"message": str(error)}, status=409)
        return web.json_response(self._stack.status())

    async def _act(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        action = self._actions.get(request.match_info["action"])
        if action is None:
            known = ", ".join(sorted(self._actions))
            return web.json_response({"message": f"no such action; there are {known}"}, status=404)
        try:
            arguments = await request.json() if request.can_read_body else {}
            if not isinstance(arguments, dict):
                raise TypeError("the body is a JSON object")  # noqa: TRY301 - answered with the other bad bodies
            result = await action(arguments)
        except LocalStackError as error:
            return web.json_response({"message": str(error)}, status=409)
        except (TypeError, ValueError) as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response({"result": result})

    def _refusal(self, request: web.Request) -> web.Response | None:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        for given in (request.headers.get("apikey", ""), bearer):
            if hmac.compare_digest(given.encode(), self._keyring.service_key.encode()):
                return None
        return web.json_response({"message": "the control API needs the service key"}, status=401)

    @staticmethod
    def _add(method: Callable[..., Any]) -> _Action:
        async def act(arguments: dict[str, Any]) -> Any:
            return method(**arguments).describe()

        return act

    @staticmethod
    def _plain(method: Callable[..., Any]) -> _Action:
        async def act(arguments: dict[str, Any]) -> Any:
            return method(**arguments)

        return act
