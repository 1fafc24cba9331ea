"""An SMTP server that writes each message to a file: aiosmtpd, with STARTTLS and a login."""

import asyncio
import ssl
import sys
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

port, folder = int(sys.argv[1]), Path(sys.argv[2])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "server.pem", folder / "server.key")


class Mailbox:
    def __init__(self):
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        if session.ssl is None or not session.authenticated:
            return "530 the message is not protected"
        self.count += 1
        (folder / f"mail-{self.count}").write_bytes(envelope.content)
        print(f"{envelope.mail_from} -> {' '.join(envelope.rcpt_tos)}", flush=True)
        return "250 queued"


def log_in(server, session, envelope, mechanism, data):
    right = LoginPassword(b"cp", b"pa+ss %word")
    return AuthResult(success=isinstance(data, LoginPassword) and data == right)


controller = Controller(
    Mailbox(),
    hostname="127.0.0.1",
    port=port,
    tls_context=context,
    require_starttls=True,
    authenticator=log_in,
    auth_required=True,
)
controller.start()
print("listening", flush=True)
asyncio.new_event_loop().run_forever()
