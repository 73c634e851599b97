"""The pure trading state machine: events in, commands out.

What a host owes the engine (`core.Engine`), whatever stands behind it:

* **Time.** Every event carries `t` and `wall`. Before an event with `t >= engine.due` it hands over
  `Timer(due=engine.due, t=..)`, again until `due` has moved past it.
* **The start.** Per exchange: `Facts` for every market, a `ClockReading`, a whole picture
  (`Reconciled` with a full `Account`, `started` set), then `Ready(READY)`. Only then are its rules
  looked at. `engine.world.differences`, `engine.world.foreign_orders` and `engine.orphans` name
  what the first pictures showed and our journal does not explain: refuse, or pass `adopt=True`.
* **Going on.** A `ClockReading` at least every five minutes (30 s is meant), on every exchange;
  `Account` after fills; `Ready` whenever the order side changes; `Budget` as learned.
* **Send.** Journal all intents in one commit, with every `Record` that came before, then send in
  one pass; nothing is ever sent twice. Answer with `Ack`, `Reject`, `Unknown`, `Fill`, `Done`.
* **Query** is answered by `Found` only when the exchange gave a definitive answer; **Reconcile**
  by `Reconciled` only when every part of the picture could be fetched; **Cancel** by `CancelReply`,
  and by `Done` when the order has ended. A network error is answered by nothing.
* **Record**s of kind `rule` (by name) and `run` are the lasting state: the youngest of each, with
  the keys of the `fill` rows, make the `Saved` of the next start.
* After the commands of `handle` were carried out, `later()` gives the traces of that event; a host
  that does not call it gets them with the next event.
"""
