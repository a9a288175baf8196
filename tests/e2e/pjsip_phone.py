"""PJSIP as a program: `pjsip_phone.py HOST PORT`. Answers every call; obeys the lines on its standard input
(`dial URI`, `reinvite`, `hangup`, `quit`) and writes SIP messages and the state of its call to stdout."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pjsua2 as pj

calls: list[Any] = []


class Call(pj.Call):  # type: ignore[misc]
    def onCallState(self, _prm: Any) -> None:
        info = self.getInfo()
        print(f"STATE {info.stateText} {info.lastStatusCode}", flush=True)


class Account(pj.Account):  # type: ignore[misc]
    def onIncomingCall(self, prm: Any) -> None:
        call = Call(self, prm.callId)
        calls.append(call)
        answer = pj.CallOpParam()
        answer.statusCode = 200
        call.answer(answer)


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 5
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.port = port
    transport.boundAddress = host
    transport.publicAddress = host
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    account = Account()
    settings = pj.AccountConfig()
    settings.idUri = f"sip:phone@{host}:{port}"
    settings.mediaConfig.transportConfig.boundAddress = host
    settings.mediaConfig.transportConfig.publicAddress = host
    account.create(settings)
    print("PHONE READY", flush=True)

    orders: list[str] = []
    threading.Thread(target=lambda: orders.extend(iter(sys.stdin.readline, "")), daemon=True).start()
    while True:
        endpoint.libHandleEvents(10)
        if not orders:
            continue
        word, _, rest = orders.pop(0).strip().partition(" ")
        if word == "dial":
            calls.append(Call(account))
            calls[-1].makeCall(rest, pj.CallOpParam(True))
        elif word == "reinvite":
            calls[-1].reinvite(pj.CallOpParam(True))
        elif word == "hangup":
            calls[-1].hangup(pj.CallOpParam())
        elif word == "quit":
            calls.clear()
            endpoint.libDestroy()
            return


if __name__ == "__main__":
    main()
