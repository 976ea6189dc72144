"""Which hosts are this machine. Pure."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Returns whether all that is sent to a host stays on this machine: `localhost`, or an address of the loopback. An IPv6 address
    is without brackets. Any other name is another machine, also if it leads to the loopback: a name can lead elsewhere tomorrow.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
