"""The gate is asked before a call; it leaves when there is a connection, which an overloaded API gives seconds later."""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial

from integration.test_answers import api_settings, call
from support.owner import OWNER

from consumer.calls import Withheld
from consumer.delivery.thread import DeliveryThread
from consumer.settings import DeliverySettings
from consumer.xcover.api import connect


def test_no_call_leaves_whose_purchase_is_read_while_it_waits_for_its_connection() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # the queue of an API that accepts no more for now
        port = listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        time.sleep(0.2)
        thread = DeliveryThread(partial(connect, api_settings(port)), DeliverySettings())
        thread.start()
        one = call("offer")
        thread.submit([one])
        time.sleep(0.7)
        OWNER.withheld[one.chain_start] = Withheld()  # its purchase is read
        thread.withdraw(OWNER, [one.chain_start])
        time.sleep(0.1)
        for filler in fillers:
            filler.close()
        listener.settimeout(4)
        said = b""
        until = time.monotonic() + 4
        try:
            while time.monotonic() < until and b"POST" not in said:
                accepted, _ = listener.accept()
                accepted.settimeout(1)
                try:
                    said = accepted.recv(4096)
                except OSError:
                    pass
                accepted.close()
        except OSError:
            pass
        thread.stop(0.5)
        OWNER.withheld.clear()
        assert b"opt_out" not in said
        _ = asyncio
