"""From an order of ours to the request, and from what came back to what became of it. Pure."""

from __future__ import annotations

from mm.venues import replies
from mm.venues.ccxt_calls import Answer
from mm.venues.mexc import wire


def create(reply: replies.Reply, kind: str) -> dict[str, str]:
    """Parameters of a new order of a type."""
    return {
        "symbol": reply.symbol,
        "side": wire.SIDE_NAME[reply.side],
        "type": kind,
        "quantity": reply.qty,
        "price": reply.px,
        "newClientOrderId": reply.cid,
    }


def named(symbol: str, cid: str) -> dict[str, str]:
    """Parameters that name an order: by the client's id, or by the venue's where there is no other."""
    return {"symbol": symbol, "orderId" if cid.startswith(wire.ORDER_ID_HEAD) else "origClientOrderId": cid}


def judge(answer: Answer, reply: replies.Reply) -> None:
    """Write into a request what became of it."""
    if answer.ok and isinstance(answer.data, dict):
        reply.raymaker, reply.body = "ok", answer.data
        return
    _judge_refusal(answer, reply)


def judge_leg(answer: Answer, reply: replies.Reply) -> None:
    """The same for one order of a batch: rows repeat the client's id."""
    rows = answer.data if answer.ok and isinstance(answer.data, list) else []
    for row in rows:
        if isinstance(row, dict) and row.get("newClientOrderId") == reply.cid:
            if row.get("orderId"):
                reply.raymaker, reply.body = "ok", row
            else:
                reply.raymaker, reply.code, reply.text = "no", str(row.get("code", "")), str(row.get("msg", ""))
            return
    _judge_refusal(answer, reply)


def _judge_refusal(answer: Answer, reply: replies.Reply) -> None:
    code, text = wire.complaint(answer.body)
    reply.code, reply.text = code or str(answer.status or ""), text or answer.error or "an answer that cannot be read"
    if answer.end == "unsent":
        reply.raymaker, reply.code = "no", "not sent"
    elif answer.end == "certain" and answer.error and code not in wire.UNKNOWN_CODES:
        reply.raymaker = "no"


def retry_after_s(answer: Answer) -> float:
    """How long the venue asks us to wait."""
    try:
        return min(float(answer.headers.get("Retry-After", "0")), 60.0)
    except ValueError:
        return 0.0
