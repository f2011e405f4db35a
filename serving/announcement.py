"""Wyoming announced on the local network (mDNS), so that Home Assistant finds it; needs the extra [zeroconf]."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from ..runtime import remedies
from ..runtime.errors import EngineError, InputError
from .service import Service

KIND = "_wyoming._tcp.local."


class Announcement:
    """Announces a port; ``serve`` does so until it is cancelled, and then takes it back."""

    def __init__(self, host: str, port: int) -> None:
        """host: the address that the server listens on.

        Raises EngineError where the package is missing, InputError for a host without an address of IPv4 and for one
        that only this machine reaches.
        """
        try:
            import zeroconf  # noqa: F401
        except ImportError as error:
            raise EngineError(f"zeroconf is missing; install it with `{remedies.install('zeroconf')}`") from error
        self._addresses = _addresses(host)
        self._port = port

    async def serve(self, service: Service | None = None) -> None:
        """Announce the port on the networks that the server listens on."""
        from zeroconf import ServiceInfo
        from zeroconf.asyncio import AsyncZeroconf

        addresses = self._addresses
        host = socket.gethostname().split(".")[0]
        # Home Assistant knows a server again by its name, so it has the port, not a number by who came first. Before
        # the kind it has 63 bytes at most (RFC 6763, 4.1.1).
        name = f"wav2edge on {host[:36]}, port {self._port}.{KIND}"
        info = ServiceInfo(KIND, name, port=self._port, parsed_addresses=addresses, server=f"{host}.local.")
        announced = AsyncZeroconf(interfaces=addresses)
        try:
            await announced.async_register_service(info, allow_name_change=True)  # another host of this host's name
            await asyncio.Event().wait()
        finally:
            await announced.async_unregister_all_services()
            await announced.async_close()


def _addresses(host: str) -> list[str]:
    """The addresses of this machine at which a server on ``host`` is reached."""
    import ifaddr

    try:
        given = socket.gethostbyname(host)
    except OSError as error:
        raise InputError(
            f"{host} has no address of IPv4, and Wyoming is announced by IPv4 only; listen on one, such as 0.0.0.0"
        ) from error
    if ipaddress.ip_address(given).is_loopback:
        raise InputError(f"no other device reaches {host}, so it cannot be announced; give --host, such as 0.0.0.0")
    if not ipaddress.ip_address(given).is_unspecified:
        return [given]
    found = [str(each.ip) for adapter in ifaddr.get_adapters() for each in adapter.ips if each.is_IPv4]
    return [address for address in found if not ipaddress.ip_address(address).is_loopback] or ["127.0.0.1"]
