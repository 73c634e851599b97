"""The checker's part for calls: arity, arguments, units, windows."""

from __future__ import annotations

from collections.abc import Sequence

from runner.lang import parser, resolve, tree, types
from runner.lang.calendar import time_of_day
from runner.lang.checking import Checking, operand_of
from runner.lang.functions import EDGES, FUNCTIONS, WINDOWS, Function, Take
from runner.lang.parser import Syntax
from runner.lang.resolve import Unresolved, nearest
from runner.lang.tree import Expr, Window
from runner.lang.types import Sort, Type
from runner.lang.unit_rules import Mismatch

MIN_WINDOW_NS = 10_000_000


class Calls(Checking):
    """Functions of the one table, and `entered(x)`."""

    def call(self, syntax: parser.CallSyntax) -> Expr:
        name = syntax.name
        place = (name, syntax.start)
        if name == "entered":
            return self.entered(syntax)
        function = FUNCTIONS.get(name)
        if function is None:
            self.report(Unresolved("E0311", f"no function is named `{name}`", place,
                                   nearest(name, [*FUNCTIONS, "entered"])))  # fmt: skip
            return self.broken(syntax)
        if not self.arity(function, syntax):
            return self.broken(syntax)
        return self.applied(function, syntax)

    def arity(self, function: Function, syntax: parser.CallSyntax) -> bool:
        found, wanted = len(syntax.args), len(function.takes)
        if found == wanted or (function.variadic and found > wanted):
            return True
        at_least = "at least " if function.variadic else ""
        plural = "" if wanted == 1 else "s"
        self.fault("E0312", f"`{function.name}` takes {at_least}{wanted} argument{plural}, "
                   f"found {found}", syntax,
                   help_=f"{function.signature}: {function.doc}")  # fmt: skip
        return False

    def applied(self, function: Function, syntax: parser.CallSyntax) -> Expr:
        before = self.faults
        args: list[Expr] = []
        window: Window | None = None
        for index, arg in enumerate(syntax.args):
            take = function.take(index)
            if take in WINDOWS:
                window = self.window(function, arg, args)
            else:
                args.append(self.argument(function, take, arg))
        type_ = self.result(function, syntax, args) if self.faults == before else types.UNKNOWN
        if self.faults == before:
            self.edges_inside(function, args)
            self.times(function, syntax, args)
        if self.faults > before:
            return self.broken(syntax, *args)
        if window is None and function.state is not None:
            window = Window()  # an edge: it remembers, but for no time
        return tree.Call(
            *self.base(syntax, type_, *self.written(*args)), function.name, tuple(args), window
        )

    def argument(self, function: Function, take: Take, syntax: Syntax) -> Expr:
        name = function.name
        if take is Take.VALUE:
            return self.numeric(syntax, f"`{name}` needs")
        if take is Take.ANY:
            return self.value(syntax)
        if take is Take.CONDITION:
            return self.condition(syntax, f"`{name}` needs")
        if take is Take.TIME:
            return self.time(name, syntax)
        if take is Take.FUNDED:
            return self.funded(name, syntax)
        expr = self.visit(syntax)
        wanted = Sort.STREAM if take is Take.STREAM else Sort.SIDE
        if expr.type.sort is not wanted and not expr.type.unknown:
            what = "a stream such as `bin.book`" if take is Take.STREAM else "`buy` or `sell`"
            self.fault("E0316", f"`{name}` needs {what}, found {expr.type}", syntax)
        elif name == "fill_price" and isinstance(expr, tree.StreamArg) and expr.kind != "book":
            self.fault("E0316", f"`fill_price` needs a book, found `{expr.key}`", syntax)
        return expr

    def funded(self, name: str, syntax: Syntax) -> Expr:
        """Check the name of a market that has a stream of funding."""
        parts = syntax.parts if isinstance(syntax, parser.NameSyntax) else ()
        market = self.scope.markets.get(parts[0][0]) if len(parts) == 1 else None
        if market is None:
            self.fault("E0316", f"`{name}` needs the name of a market", syntax,
                       help_=f"one of: {', '.join(sorted(self.scope.markets))}")  # fmt: skip
            return self.broken(syntax)
        try:
            kind = resolve.stream_kind(market, ("funding", syntax.start))
        except Unresolved as fault:
            fault.end = syntax.end
            self.report(fault)
            return self.broken(syntax)
        return tree.StreamArg(
            *self.base(syntax, types.STREAM), f"{market.name}.{kind}", market.name, kind
        )

    def time(self, name: str, syntax: Syntax) -> Expr:
        """Check a time of day: a text written out, for its instant is known before the run."""
        expr = self.value(syntax)
        if isinstance(expr, tree.String) and time_of_day(expr.value) is not None:
            return expr
        self.fault("E0316", f"`{name}` needs a time of day", syntax,
                   help_='written out, in UTC: `"08:00"` or `"08:00:30"`')  # fmt: skip
        return self.broken(syntax)

    def times(self, function: Function, syntax: Syntax, args: Sequence[Expr]) -> None:
        """Report a span of the day that is empty."""
        if Take.TIME not in function.takes:
            return
        texts = [arg.value for arg in args if isinstance(arg, tree.String)]
        if len({time_of_day(text) for text in texts}) == 1:
            self.fault("E0316", f"`{function.name}` from {texts[0]} to {texts[1]} is no time at "
                       "all", syntax, "never true")  # fmt: skip

    def edges_inside(self, function: Function, args: Sequence[Expr]) -> None:
        """Report an edge that something else would have to remember: it never sees it."""
        if function.state is None:
            return
        for arg in args:
            for call in tree.find(arg, tree.Call):
                inner = FUNCTIONS[call.function]
                if inner.state in EDGES:
                    self.fault("E0316", f"`{inner.name}` is true at an instant only, "
                               f"`{function.name}` would not see it", arg)  # fmt: skip
                    return

    def result(self, function: Function, syntax: Syntax, args: Sequence[Expr]) -> Type:
        if any(arg.type.unknown for arg in args) and function.name != "known":
            kept = [arg for arg in args if not arg.type.unknown]
            try:
                return function.unit([operand_of(a) for a in kept or args])
            except (Mismatch, IndexError):
                return types.UNKNOWN
        if function.name == "fill_price":
            return self.fill_price(args)
        try:
            return function.unit([operand_of(arg) for arg in args])
        except Mismatch as mismatch:
            self.fault("E0306", str(mismatch), syntax)
            return types.UNKNOWN

    def fill_price(self, args: Sequence[Expr]) -> Type:
        """The size is an amount of the base or a notional in the quote of the market."""
        stream, _, size = args
        assert isinstance(stream, tree.StreamArg)
        market = self.scope.markets[stream.market]
        fitting = (self.scope.amount(market.base), self.scope.amount(market.quote))
        if not any(types.same(size.type, t) for t in fitting):
            self.fault("E0306", f"the size to take is an amount of {market.base} or of "
                       f"{market.quote}, found {size.type}", size)  # fmt: skip
        return self.scope.price(market.quote, market.base)

    def entered(self, syntax: parser.CallSyntax) -> Expr:
        this = self.scope.this
        if this is None or not this.holding:
            self.report(Unresolved("E0304", "`entered` is known only while a trade is held",
                                   ("entered", syntax.start), "allowed in `until`"))  # fmt: skip
            return self.broken(syntax)
        if len(syntax.args) != 1:
            self.fault("E0312", f"`entered` takes 1 argument, found {len(syntax.args)}", syntax,
                       help_="entered(x): x as it was when the trade was approved")  # fmt: skip
            return self.broken(syntax)
        expr = self.numeric(syntax.args[0], "`entered` needs")
        return tree.Entered(*self.base(syntax, expr.type, expr), expr)

    def window(self, function: Function, syntax: Syntax, args: Sequence[Expr]) -> Window | None:
        """Check a window: a duration, a count of bars, or a param of one of these."""
        before = self.faults
        expr = self.value(syntax)
        if self.faults > before or expr.type.unknown:
            return None
        name = function.name
        if expr.type.dims not in (types.DURATION.dims, types.COUNT.dims):
            text = self.source(syntax)
            bare = isinstance(expr, tree.Number) and not expr.unit
            self.fault("E0313", f"`{name}` needs a window, found {expr.type}", syntax,
                       help_=f"write `{text}s` or `{text}bars`" if bare
                       else "a duration `20s`, a count `20bars`, or a param of one")  # fmt: skip
            return None
        if not self.right_kind(function, syntax, expr.type):
            return None
        stream = self.bars_of(syntax, args) if expr.type.dims == types.COUNT.dims else ""
        if stream is None:
            return None
        if isinstance(expr, tree.Param):
            value = self.scope.params[expr.name].default
            if self.long_enough(name, syntax, expr.type, float(value or 0)):
                return Window(param=expr.name, stream=stream)
            return None
        if not isinstance(expr, tree.Number):
            self.fault("E0314", f"the window of `{name}` must be constant", syntax,
                       help_="its state is sized before the run: `20s` or a param")  # fmt: skip
            return None
        if not self.long_enough(name, syntax, expr.type, expr.value):
            return None
        if expr.type.dims == types.COUNT.dims:
            return Window(bars=int(expr.value), stream=stream)
        return Window(ns=round(expr.value * 1e9))

    def right_kind(self, function: Function, syntax: Syntax, type_: Type) -> bool:
        """Report a count of bars where only a duration makes sense, and the other way round."""
        bars = type_.dims == types.COUNT.dims
        if (Take.SPAN in function.takes and bars) or (Take.BARS in function.takes and not bars):
            what = "a count of bars such as `14bars`" if not bars else "a duration such as `20s`"
            self.fault("E0313", f"`{function.name}` needs {what}", syntax)
            return False
        return True

    def long_enough(self, name: str, syntax: Syntax, type_: Type, value: float) -> bool:
        if type_.dims == types.COUNT.dims:
            if value >= 1 and value == int(value) and value <= 100_000:
                return True
            self.fault("E0313", f"`{name}` needs a whole number of bars, 1 to 100000", syntax)
            return False
        if MIN_WINDOW_NS <= value * 1e9 <= 400 * 86_400e9:
            return True
        self.fault("E0313", f"the window of `{name}` must be from 10ms to 400d", syntax)
        return False

    def bars_of(self, syntax: Syntax, args: Sequence[Expr]) -> str | None:
        """Return the bars stream that a count of bars counts: the only one there is to mean."""
        read = tree.streams_of(*args)
        markets = {key.split(".")[0] for key in read} & self.scope.markets.keys()
        having = [m for m in sorted(markets) if "bars" in self.scope.markets[m].streams]
        named = [key for key in read if key.endswith(".bars")]
        found = named or [f"{m}.bars" for m in having]
        if len(found) == 1:
            return found[0]
        if any(tree.is_broken(arg) for arg in args):
            return None
        why = "no market here has bars" if not found else "it reads bars of several markets"
        self.fault("E0313", f"a window of bars needs one stream of bars: {why}", syntax,
                   help_="streams: {bars: {every: 1m}}, or a duration as window")  # fmt: skip
        return None
