"""The author's syntax tree made safe to run: each output goes through our filter, loops and `~` are bounded, and
no secret reaches Jinja."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from services.query_executor.statement import Origin
from services.query_executor.template.rules import profile_field, secret_path

OUTPUT, SECRET_OUTPUT, LOOP, CONCAT = "_output", "_secret", "_loop", "_concat"
PROFILE_NAME = "_profile_"


@dataclass(frozen=True, slots=True)
class Site:
    """One `{{ … }}` of a template."""

    path: str
    origin: Origin
    secret: tuple[str, ...] = ()


class Rewriter(NodeTransformer):
    """Rewrites a checked tree in place and lists its outputs."""

    def __init__(self, environment: Environment) -> None:
        self.sites: list[Site] = []
        self._environment = environment
        self._sources: dict[str, tuple[str, Origin]] = {}

    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        """Each expression becomes the text that stands for it."""
        node.nodes = [child if isinstance(child, nodes.TemplateData) else self._output(child) for child in node.nodes]
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:
        """A loop's elements are counted over the whole render."""
        assert isinstance(node.target, nodes.Name)
        self._sources[node.target.name] = self._source(node.iter)
        self.generic_visit(node)
        node.iter = self._filter(LOOP, node.iter, nodes.Const(self._source(node.iter)[0]))
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Assign:
        """A name set from a parameter is spoken of as that parameter."""
        assert isinstance(node.target, nodes.Name)
        self._sources[node.target.name] = self._source(node.node)
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        """`~` must not build a text without end."""
        self.generic_visit(node)
        return self._filter(CONCAT, nodes.List(node.nodes))

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Expr:
        """A field of the profile becomes a plain name."""
        name = profile_field(node)
        return nodes.Name(PROFILE_NAME + name, "load") if name else self.generic_visit(node)  # type: ignore[return-value]

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        """As for an attribute: `secret["user_profile"].id` is another spelling."""
        name = profile_field(node)
        return nodes.Name(PROFILE_NAME + name, "load") if name else self.generic_visit(node)  # type: ignore[return-value]

    def _output(self, node: nodes.Node) -> nodes.Expr:
        secret = secret_path(node)
        number = nodes.Const(len(self.sites))
        if secret is not None and secret[0] != "user_profile":
            self.sites.append(Site(".".join(("secret", *secret)), Origin.SECRET, secret))
            return self._filter(SECRET_OUTPUT, nodes.Const(None), number)
        self.sites.append(Site(*self._source(node)))
        return self._filter(OUTPUT, self.visit(node), number)

    def _source(self, node: nodes.Node) -> tuple[str, Origin]:
        """What an expression is about: its first parameter, else the profile, else nothing that varies."""
        name = profile_field(node)
        if name:
            return f"secret.user_profile.{name}", Origin.PROFILE
        if isinstance(node, nodes.Name):
            own = ("a constant", Origin.CONSTANT) if node.name == "loop" else (node.name, Origin.PARAMETER)
            return self._sources.get(node.name, own)
        found = [self._source(child) for child in node.iter_child_nodes()]
        order = (Origin.PARAMETER, Origin.PROFILE, Origin.CONSTANT)
        return min(found, key=lambda source: order.index(source[1]), default=("a constant", Origin.CONSTANT))

    def _filter(self, name: str, node: Any, *args: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(node, name, list(args), [], None, None).set_environment(self._environment)  # type: ignore[return-value]
