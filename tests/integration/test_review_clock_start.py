"""A start in a busy topic: nobody is asked for the time before the first call has left."""

from __future__ import annotations

import threading
from pathlib import Path

from support.deployment import deployed, now, until

AHEAD_S = 1_200


def test_the_first_call_waits_until_somebody_has_told_the_time(real_kafka, tmp_path: Path) -> None:
    """Our clock and one producer's are twenty minutes ahead, as on machines of one time server; all other producers are right."""
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings={"JOIN__IDLE_AFTER": "5s"}) as deployment:
        clock = tmp_path / "ahead"
        clock.write_text(str(AHEAD_S))
        stop = threading.Event()

        def traffic() -> None:
            n = 0
            while not stop.wait(0.1):
                n += 1
                deployment.check_out(session=f"traffic-{n}")
                deployment.present(f"traffic-{n}", session=f"traffic-{n}")
                deployment.check_out(f"traffic-{n}", session=f"traffic-{n}")
                deployment.flush()

        thread = threading.Thread(target=traffic)
        thread.start()
        try:
            process = deployment.start(clock=clock)
            until(lambda: process.lines("task begins"), within=60, what="the task to begin")
            for n in range(20):
                deployment.present(f"sold-{n}", session=f"sold-{n}")
            deployment.flush()
            until(lambda: process.running and len(process.lines("task begins")) == 1, within=5, what="it")
            ahead = now() + (AHEAD_S - 10) * 1000
            deployment.present("from-ahead", session="from-ahead", at=ahead)
            deployment.check_out(session="from-ahead", at=ahead)
            deployment.flush()
            threading.Event().wait(1.5)
            for n in range(20):
                deployment.check_out(f"sold-{n}", session=f"sold-{n}")
            deployment.flush()
            threading.Event().wait(8)
        finally:
            stop.set()
            thread.join()
        for line in process.lines():
            if line.get("level") in ("warning", "error"):
                print(str(line)[:300])
        false = [offer for offer in deployment.called() if offer.startswith(("sold", "traffic"))]
        print("false", false)
        assert false == []
