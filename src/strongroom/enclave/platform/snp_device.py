"""The one call to /dev/sev-guest: a key that AMD's secure processor derives for this guest.

Layouts of Linux's "include/uapi/linux/sev-guest.h", and of MSG_KEY_REQ and MSG_KEY_RSP in AMD's "SEV Secure Nested
Paging Firmware ABI Specification". Question and answer are encrypted between guest and secure processor: the host
carries them and can refuse, no more.
"""

from __future__ import annotations

import fcntl
import os
import struct
from array import array
from pathlib import Path
from typing import Final

from strongroom.enclave.platform.pseudo_files import unavailable

DEVICE: Final = Path("/dev/sev-guest")

GET_DERIVED_KEY: Final = 0xC0205301
"""_IOWR('S', 0x1, struct snp_guest_request_ioctl)."""
_CALL: Final = struct.Struct("<B7xQQQ")
"""snp_guest_request_ioctl: message version, addresses of request and response, error (firmware's low, host's high)."""
_REQUEST: Final = struct.Struct("<IIQIIQ")
"""snp_derived_key_req: key selection, reserved, fields to mix in, VMPL, guest SVN, TCB version."""
_RESPONSE: Final = 64
"""MSG_KEY_RSP: status (4), reserved (28), key (32)."""

_VCEK: Final = 1 << 1
"""KEY_SEL 1, root key 0. By default a machine with a VLEK derives from that: from a secret of the cloud provider, not
of the chip. Firmware that knows no VLEK (before ABI 1.54) refuses the bit, and is too old to run on."""
_GUEST_POLICY: Final = 1 << 0
_MEASUREMENT: Final = 1 << 3
_VERSION: Final = 1


def derived_key(device: Path, vmpl: int) -> bytes:
    """32 bytes bound to this chip, measurement and guest policy. Raises `Unavailable` QUOTE_UNAVAILABLE.

    SVN and TCB are not mixed in, since an older value could be asked for at will. The chip's key is itself one of its
    firmware's version.
    """
    request = array("B", _REQUEST.pack(_VCEK, 0, _GUEST_POLICY | _MEASUREMENT, vmpl, 0, 0))
    response = array("B", bytes(_RESPONSE))
    call = bytearray(_CALL.pack(_VERSION, request.buffer_info()[0], response.buffer_info()[0], 0))
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, GET_DERIVED_KEY, call)
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = f"{error.strerror}, firmware and host say {_CALL.unpack(call)[3]:#x}"
        raise unavailable(f"no sealing key from {device}: {reason}") from None
    answer = response.tobytes()
    status, key = int.from_bytes(answer[:4], "little"), answer[32:]
    if status != 0:
        raise unavailable(f"no sealing key: the secure processor refused with status {status:#x}")
    if not any(key):
        raise unavailable("no sealing key: the answer is empty")
    return key
