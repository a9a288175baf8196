"""A PJSIP telephone as a program of its own: JSON lines in tell it what to do, JSON lines out what happened.

It is started by `pjsip.py`, with its settings as one JSON argument. PJSIP runs in this one thread: it polls,
and so does this.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import pjsua2 as pj

_POLL_MS = 10
# PJSIP itself prints to the standard output: what it says there goes to stderr.
_OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
_TRANSPORTS = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}
_NAMES = {
    pj.PJSIP_INV_STATE_CALLING: "calling",
    pj.PJSIP_INV_STATE_INCOMING: "incoming",
    pj.PJSIP_INV_STATE_EARLY: "early",
    pj.PJSIP_INV_STATE_CONNECTING: "connecting",
    pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
    pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
}
_HELD = (pj.PJSUA_CALL_MEDIA_LOCAL_HOLD, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)


def tell(event: str, **facts: Any) -> None:
    """One line out."""
    print(json.dumps({"event": event, **facts}), file=_OUT, flush=True)


class Call(pj.Call):
    """The one call of this telephone."""

    def __init__(self, phone: Phone, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, call_id)
        self.phone = phone

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        if prm.e.type == pj.PJSIP_EVENT_TSX_STATE and info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.onCallTsxState(prm)
        tell("state", state=_NAMES.get(info.state, "?"), status=info.lastStatusCode, reason=info.lastReason)

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        info = self.getInfo()  # owns the memory of what it holds
        for media in info.media:
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                tell("media", held=media.status in _HELD, direction=media.dir)
                if media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                    self.phone.tone.startTransmit(self.getAudioMedia(media.index))

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        change = prm.e.body.tsxState
        if change.type == pj.PJSIP_EVENT_RX_MSG:
            tell("received", text=change.src.rdata.wholeMsg)

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        tell("digit", digit=prm.digit)


class Account(pj.Account):
    """Takes incoming calls; `ring` says how."""

    phone: Phone

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        tell("received", text=prm.rdata.wholeMsg)
        self.phone.call = Call(self.phone, prm.callId)
        self.phone.answer(180)
        if self.phone.settings["answers"]:
            self.phone.answer(200)
        tell("incoming")


class Phone:
    """PJSIP, started with `settings`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.call: Call | None = None
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.userAgent = "pjsip-agent"
        config.medConfig.threadCnt = 1
        config.medConfig.noVad = True
        config.logConfig.level = 4  # SIP messages
        config.logConfig.consoleLevel = 4
        self.endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.port = settings["port"]
        transport.boundAddress = transport.publicAddress = settings["host"]
        if settings["transport"] == "tls":
            tls = transport.tlsConfig
            tls.CaListFile, tls.certFile, tls.privKeyFile = settings["tls"]
            tls.verifyServer = True
            tls.verifyClient = False
        self.endpoint.transportCreate(_TRANSPORTS[settings["transport"]], transport)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        self.tone = pj.ToneGenerator()
        self.tone.createToneGenerator()
        digit = pj.ToneDesc()
        digit.freq1, digit.freq2, digit.on_msec, digit.off_msec = 440, 0, 1000, 0
        tones = pj.ToneDescVector()
        tones.append(digit)
        self.tone.play(tones, True)
        self.account = Account()
        self.account.phone = self
        self.account.create(self._account())

    def _account(self) -> pj.AccountConfig:
        settings = self.settings
        config = pj.AccountConfig()
        config.idUri = f"sip:{settings['number']}@{settings['host']}"
        if settings["proxy"]:
            config.sipConfig.proxies.append(settings["proxy"])
        if settings["login"]:
            user, password = settings["login"]
            config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
        if settings["strict"]:
            config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
            config.callConfig.timerMinSESec = 90
            config.callConfig.timerSessExpiresSec = 90
            config.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
        config.natConfig.contactRewriteUse = 0
        config.natConfig.contactUseSrcPort = 0
        config.natConfig.viaRewriteUse = 0
        config.natConfig.sdpNatRewriteUse = 0
        config.mediaConfig.transportConfig.boundAddress = settings["host"]
        config.mediaConfig.transportConfig.port = settings["media_port"]
        config.mediaConfig.transportConfig.portRange = 200
        return config

    # --- what it can be told to do --------------------------------------------------------------------------

    def dial(self, to: str) -> None:
        """Call this URI."""
        self.call = Call(self)
        self.call.makeCall(to, pj.CallOpParam(True))

    def answer(self, status: int) -> None:
        """Answer the incoming call."""
        self._in_call().answer(self._parameters(status))

    def hangup(self, status: int = 0) -> None:
        """End the call, whatever it is doing."""
        if self.call is not None and self.call.isActive():
            self.call.hangup(self._parameters(status))

    def hold(self) -> None:
        """Re-INVITE: hold."""
        self._in_call().setHold(pj.CallOpParam(True))

    def resume(self) -> None:
        """Re-INVITE: off hold."""
        parameters = pj.CallOpParam(True)
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        self._in_call().reinvite(parameters)

    def update(self) -> None:
        """UPDATE with an offer: a session refresh."""
        self._in_call().update(pj.CallOpParam(True))

    def digit(self, digit: str) -> None:
        """RFC 4733."""
        self._in_call().dialDtmf(digit)

    def transfer(self, to: str) -> None:
        """REFER."""
        self._in_call().xfer(to, pj.CallOpParam(True))

    def packets(self) -> None:
        """How many RTP packets came."""
        tell("packets", count=self._in_call().getStreamStat(0).rtcp.rxStat.pkt)

    def _in_call(self) -> Call:
        if self.call is None:
            raise RuntimeError("there is no call")
        return self.call

    @staticmethod
    def _parameters(status: int) -> pj.CallOpParam:
        parameters = pj.CallOpParam(True)
        parameters.statusCode = status
        return parameters


def main() -> None:
    """Until stdin ends, or the line `quit`."""
    phone = Phone(json.loads(sys.argv[1]))
    tell("ready")
    pending = b""
    while True:
        phone.endpoint.libHandleEvents(_POLL_MS)
        if not select.select([0], [], [], 0)[0]:
            continue
        data = os.read(0, 65_536)
        if not data:
            break
        pending += data
        *lines, pending = pending.split(b"\n")
        for line in lines:
            command = json.loads(line)
            try:
                getattr(phone, command.pop("do"))(**command)
            except (pj.Error, RuntimeError) as error:
                tell("error", text=error.info() if isinstance(error, pj.Error) else str(error))
    # Its tear-down is not what is tested, and crashes now and then.
    os._exit(0)


if __name__ == "__main__":
    main()
