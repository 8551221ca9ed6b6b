"""A stand-in for a SOCKS5 proxy on a real socket; it passes every connection on and remembers where to."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class SocksStandin:
    """url: its address. asked: (host, port) of each connection that went through it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socks5://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[tuple[str, int]] = []

    def run(self) -> None:
        """Take connections until the socket is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, client: socket.socket) -> None:
        # https://www.rfc-editor.org/rfc/rfc1928
        with suppress(OSError), client:
            client.recv(client.recv(2)[1])
            client.sendall(b"\x05\x00")
            kind = client.recv(4)[3]
            host = socket.inet_ntoa(client.recv(4)) if kind == 1 else client.recv(client.recv(1)[0]).decode()
            port = int.from_bytes(client.recv(2), "big")
            self.asked.append((host, port))
            with socket.create_connection((host, port)) as server:
                client.sendall(b"\x05\x00\x00\x01" + bytes(6))
                threading.Thread(target=_copy, args=(server, client), daemon=True).start()
                _copy(client, server)


def _copy(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
        to.shutdown(socket.SHUT_WR)


@contextmanager
def socks_standin() -> Iterator[SocksStandin]:
    """A running proxy."""
    standin = SocksStandin()
    thread = threading.Thread(target=standin.run, daemon=True)
    thread.start()
    try:
        yield standin
    finally:
        standin.close()
        thread.join(5)
