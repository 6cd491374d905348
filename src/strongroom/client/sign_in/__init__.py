"""Signing in with Authenticators: in a browser, on another device, by password, token, key, quote or code.

    sign_in=BrowserSignIn()
    sign_in=[KeySignIn("~/.ssh/id_ed25519"), BrowserSignIn()]

Of several ways the first counts that a record takes. `AsyncVault` and `Vault` take them.
"""

from strongroom.client.sign_in.browser import BrowserSignIn, PrintingSignIn, SignIn
from strongroom.client.sign_in.code import CodeSent, CodeSignIn
from strongroom.client.sign_in.desk import AnyWay, Approve, NoWay, SignInDesk, Ways
from strongroom.client.sign_in.device import DeviceCode, DeviceSignIn, PrintingDeviceSignIn
from strongroom.client.sign_in.enclaves import (
    EnclaveSignIn,
    GramineQuoter,
    Quote,
    Quoter,
    TsmQuoter,
    collateral_of_file,
)
from strongroom.client.sign_in.flow import Ceremony, Flow, Way
from strongroom.client.sign_in.keys import KeySignIn
from strongroom.client.sign_in.password import Credentials, PasswordSignIn
from strongroom.client.sign_in.workload import TokenSignIn, token_of_environment, token_of_file, token_of_github

__all__ = [
    "AnyWay",
    "Approve",
    "BrowserSignIn",
    "Ceremony",
    "CodeSent",
    "CodeSignIn",
    "Credentials",
    "DeviceCode",
    "DeviceSignIn",
    "EnclaveSignIn",
    "Flow",
    "GramineQuoter",
    "KeySignIn",
    "NoWay",
    "PasswordSignIn",
    "PrintingDeviceSignIn",
    "PrintingSignIn",
    "Quote",
    "Quoter",
    "SignIn",
    "SignInDesk",
    "TokenSignIn",
    "TsmQuoter",
    "Way",
    "Ways",
    "collateral_of_file",
    "token_of_environment",
    "token_of_file",
    "token_of_github",
]
