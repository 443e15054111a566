"""What a template may say, and that what it may not is refused before it runs."""

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.statement import Engine, Origin
from services.query_executor.template import Inferred, Template, Values, bind
from services.query_executor.template.environment import sandbox
from services.query_executor.template.recorder import RECORDER, Recorder

REFUSED = [
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be called"),
    ("{{ ''.__class__ }}", "without fields"),
    ("{{ x.upper() }}", "cannot be called"),
    ("{{ f() }}", "cannot be called"),
    ("{{ range(9) }}", "cannot be called"),
    ("{{ x.y }}", "without fields"),
    ("{{ x['y'] }}", "whole number"),
    ("{{ x|attr('y') }}", "`attr` is not allowed"),
    ("{{ x|map('upper') }}", "`map` is not allowed"),
    ("{{ x|format(1) }}", "`format` is not allowed"),
    ("{{ x|safe }}", "`safe` is not allowed"),
    ("{{ x|_output(0) }}", "`_output` is not allowed"),
    ("{{ x|_secret(0) }}", "`_secret` is not allowed"),
    ("{{ x|join(*y) }}", "is not allowed"),
    ("{{ x is callable }}", "`callable` is not allowed"),
    ("{% include 'x' %}", "Include"),
    ("{% import 'x' as y %}", "Import"),
    ("{% from 'x' import y %}", "FromImport"),
    ("{% extends 'x' %}", "Extends"),
    ("{% block a %}{% endblock %}", "Block"),
    ("{% macro a() %}{% endmacro %}", "Macro"),
    ("{% call a() %}{% endcall %}", "CallBlock"),
    ("{% filter upper %}a{% endfilter %}", "FilterBlock"),
    ("{% set a %}b{% endset %}", "endset"),
    ("{% set a.b = 1 %}", "gives one name"),
    ("{% set a, b = x %}", "gives one name"),
    ("{% for a, b in x %}{% endfor %}", "gives one name"),
    ("{% for a in x recursive %}{% endfor %}", "Recursive"),
    ("{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}", "At most 2 loops"),
    ("{{ 9 * 9 }}", "`*`"),
    ("{{ 9 ** 9 }}", "`**`"),
    ("{{ '%9999999d' % 1 }}", "`%`"),
    ("{{ x[1:2] }}", "whole number"),
    ("{{ {'a': 1} }}", "objects"),
    ("{{ _recorder }}", "underscore"),
    ("{{ tdmkaaaaaaaz }}", "reserved"),
    ("TDMKAAAAAAAZ {{ x }}", "reserved"),
    ("{{ 'a\x00' }}", "control characters"),
    ("{{ x", "malformed in line 1"),
    ("{% if x %}", "malformed"),
    ("{{ " + "(" * 300 + "x" + ")" * 300 + " }}", "nested"),
    ("{{ " + "not " * 100 + "x }}", "nested"),
    ("x" * 65_537, "at most 65536 characters"),
]

SECRETS_REFUSED = [
    "{{ secret }}",
    "{{ secret.a|upper }}",
    "{{ secret.a|default('x') }}",
    "{{ secret.a ~ 'x' }}",
    "{{ 'x' ~ secret.a }}",
    "{{ secret.a + 1 }}",
    "{{ -secret.a }}",
    "{{ secret.a == 'x' }}",
    "{{ secret.a is defined }}",
    "{{ secret.a[0] }}",
    "{{ secret[x] }}",
    "{{ [secret.a] }}",
    "{{ [secret.a]|join(',') }}",
    "{{ x|default(secret.a) }}",
    "{{ x|replace('a', secret.a) }}",
    "{{ secret.a if x else 'b' }}",
    "{% if secret.a %}1{% endif %}",
    "{% if secret.a > 'm' %}1{% endif %}",
    "{% for x in secret.a %}{{ x }}{% endfor %}",
    "{% set x = secret.a %}",
    "{% set secret = 1 %}",
    "{% for secret in x %}{% endfor %}",
    "{{ secret.user_profile }}",
    "{{ secret.user_profile.password }}",
    "{{ secret.user_profile.id.x }}",
    "{{ secret.a.b.c.d.e.f }}",
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_a_construct_that_is_not_listed_is_refused(text: str, message: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        Template.compile(f"SELECT {text}", Engine.POSTGRES)

    assert message in refused.value.detail
    assert list(refused.value.errors) == ["query_text"]


@pytest.mark.parametrize("text", SECRETS_REFUSED)
def test_a_secret_stands_alone_or_not_at_all(text: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        Template.compile(f"SELECT {text}", Engine.POSTGRES)

    assert "secret" in refused.value.detail


def test_secrets_are_named_in_all_spellings_and_never_written() -> None:
    template = Template.compile(
        """SELECT 1 FROM t WHERE a = '{{ secret.key }}' AND b = '{{ secret["my-key"] }}' AND c = {{ secret.a.b }}""",
        Engine.POSTGRES,
    )
    draft = template.render(Values(secrets={("key",): "hush1", ("my-key",): "hush2", ("a", "b"): "hush3"}))

    assert template.secret_paths == {("key",), ("my-key",), ("a", "b")}
    assert [slot.origin for slot in draft.slots] == [Origin.SECRET] * 3
    assert [slot.path for slot in draft.slots] == ["secret.key", "secret.my-key", "secret.a.b"]
    assert draft.secret_tokens() == {"tdmkaaaaaaaz", "tdmkaaaaaabz", "tdmkaaaaaacz"}
    assert [value.value for value in bind(draft).binds] == ["hush1", "hush2", "hush3"]
    assert "hush" not in repr(draft) + repr(bind(draft))


def test_a_secret_cannot_be_a_name() -> None:
    template = Template.compile('SELECT "{{ secret.key }}" FROM t', Engine.POSTGRES)

    with pytest.raises(QueryValidationError, match="cannot be a name"):
        template.render(Values(secrets={("key",): "a"}))


def test_an_internal_query_has_no_secrets() -> None:
    with pytest.raises(QueryValidationError, match="no secrets"):
        Template.compile("SELECT '{{ secret.key }}'", Engine.INTERNAL)

    profile = Template.compile("SELECT '{{ secret.user_profile.id }}'", Engine.INTERNAL)
    assert profile.secret_paths == {("user_profile", "id")}


def test_the_profile_is_used_as_parameters_are() -> None:
    template = Template.compile(
        "SELECT '{{ secret.user_profile.email|lower }}'"
        "{% if secret.user_profile.is_staff %}, {{ secret['user_profile'].id }}{% endif %}",
        Engine.POSTGRES,
    )
    draft = template.render(Values(profile={"email": "A@B", "is_staff": True, "id": 7}))

    assert [(slot.value, slot.origin, slot.path) for slot in draft.slots] == [
        ("a@b", Origin.PROFILE, "secret.user_profile.email"),
        (7, Origin.PROFILE, "secret.user_profile.id"),
    ]


def test_parameters_cannot_stand_in_for_what_the_service_puts_there() -> None:
    template = Template.compile("SELECT '{{ secret.user_profile.id }}', '{{ x }}'", Engine.POSTGRES)
    values = Values({"_profile_id": "forged", "_recorder": None, "x": 1, "self": 2}, profile={"id": "own"})

    assert [slot.value for slot in template.render(values).slots] == ["own", 1]


def test_parameters_are_inferred() -> None:
    template = Template.compile(
        "SELECT {{ a }}, {{ b|default(1) }}, {% for x in ids %}{{ x }},{% endfor %} {{ names|join(',') }}"
        "{% if c %}{{ c }}{% endif %}{% if d is defined %} d{% endif %}{% set e = f %}{{ e|upper }}"
        "{% if g %}{{ h }}{% endif %}{% if i > 1 %}{{ i }}{% endif %}{% if j is defined and j > 1 %}{{ j }}{% endif %}",
        Engine.POSTGRES,
    )

    assert template.parameters == (
        Inferred("a", in_list=False, optional=False),
        Inferred("b", in_list=False, optional=True),
        Inferred("ids", in_list=True, optional=False),
        Inferred("names", in_list=True, optional=False),
        Inferred("c", in_list=False, optional=True),
        Inferred("d", in_list=False, optional=True),
        Inferred("f", in_list=False, optional=False),
        Inferred("g", in_list=False, optional=True),
        Inferred("h", in_list=False, optional=False),
        Inferred("i", in_list=False, optional=False),
        Inferred("j", in_list=False, optional=True),
    )


@pytest.mark.parametrize(
    "text",
    [
        "SELECT {{ x }}",
        "SELECT {{ x|upper }}",
        "SELECT {{ x ~ 'a' }}",
        "SELECT {{ x + 1 }}",
        "SELECT {{ x|join(',') }}",
        "SELECT {% for y in x %}{{ y }}{% endfor %}",
        "SELECT {% if x > 1 %}1{% endif %}",
        "SELECT '{{ x }}'",
        "SELECT {{ x[0] }}",
        "SELECT {{ x|ident }}",
        "SELECT {{ x|one_of('a') }}",
        "SELECT {{ x if true }}",
    ],
)
def test_a_used_parameter_that_is_missing_is_named(text: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        Template.compile(text, Engine.POSTGRES).render(Values({"other": 1}))

    assert refused.value.errors == {"params.x": ["This parameter is required."]}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1{% if x %}{{ x }}{% endif %}",
        "SELECT 1{% if x is defined %}{{ x }}{% endif %}",
        "SELECT {{ x|default(1) }}",
        "SELECT {{ x|default('a')|upper }}",
        "SELECT 1{% if not x %}{% endif %}",
        "SELECT 1{% if x == 'a' %}{{ x }}{% endif %}",
        "SELECT 1{% if x in ['a'] %}{{ x }}{% endif %}",
        "SELECT 1{% if x is none or x is defined %}{% endif %}",
        "SELECT 1{% if x is defined and x > 1 %}{{ x + 1 }}{% endif %}",
    ],
)
def test_a_parameter_may_be_left_out_where_the_template_copes(text: str) -> None:
    template = Template.compile(text, Engine.POSTGRES)

    assert [used.optional for used in template.parameters] == [True]
    assert template.render(Values()).text.startswith("SELECT")


def test_parameters_that_are_not_used_are_accepted() -> None:
    assert Template.compile("SELECT 1", Engine.POSTGRES).render(Values({"region": "x", "l": ("a",)})).text == "SELECT 1"


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in x %}{% for b in x %}{% endfor %}{% endfor %}",
        "{% for a in x %}{% for b in x %}{{ b }}{% endfor %}{% endfor %}",
    ],
)
def test_loops_are_bounded(text: str) -> None:
    with pytest.raises(QueryValidationError, match="at most"):
        Template.compile(f"SELECT {text}", Engine.POSTGRES).render(Values({"x": tuple(range(5_000))}))


@pytest.mark.parametrize(
    "text",
    [
        "{% set a = x %}" + "{% set a = a ~ a %}" * 40 + "'{{ a }}'",
        "{{ x|replace('', x) }}",
        "{% for a in l %}" + "y" * 50_000 + "{% endfor %}",
    ],
)
def test_output_is_bounded(text: str) -> None:
    with pytest.raises(QueryValidationError, match="at most"):
        Template.compile(f"SELECT {text}", Engine.POSTGRES).render(Values({"x": "y" * 1_000, "l": tuple(range(100))}))


@pytest.mark.parametrize(
    "text", ["{{ x + 1 }}", "{{ x / 0 }}", "{{ x|round(99999999) }}", "{{ x|first }}", "{% if x > 1 %}{% endif %}"]
)
def test_a_value_that_does_not_fit_is_an_error_without_the_value(text: str) -> None:
    with pytest.raises(QueryValidationError) as refused:
        Template.compile(f"SELECT {text}", Engine.POSTGRES).render(Values({"x": "squeamish"}))

    assert "squeamish" not in refused.value.detail


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ x|upper }}", "Ä"),
        ("{{ x|trim }}", "ä"),
        ("{{ x|replace('ä', 'b') }}", "b"),
        ("{{ n|int + 1 }}", 8),
        ("{{ n|float }}", 7.0),
        ("{{ l|length }}", 3),
        ("{{ l|first }}", 3),
        ("{{ l|sort|last }}", 3),
        ("{{ l|max - l|min }}", 2),
        ("{{ l[1] }}", 1),
        ("{{ l|unique|length }}", 3),
        ("{{ 'a' if n else 'b' }}", "a"),
        ("{{ '50%_\\\\'|like_escape }}", "50\\%\\_\\\\"),
    ],
)
def test_filters(text: str, value: object) -> None:
    draft = Template.compile(f"SELECT {text}", Engine.POSTGRES).render(Values({"x": "ä", "n": "7", "l": (3, 1, 2)}))

    assert draft.slots[0].value == value


def test_a_template_is_tried_without_values() -> None:
    template = Template.compile(
        "SELECT {{ c|ident }} FROM t WHERE a IN ({{ l|join(',') }}) AND b = '{{ secret.key }}' {% if n > 5 %}"
        "AND n > {{ n + 1 }}{% endif %} ORDER BY {{ c|ident }} {{ d|one_of('asc', 'desc') }} LIMIT {{ n|int }}",
        Engine.POSTGRES,
    )
    draft = template.render_dummy()

    assert draft.text == (
        "SELECT \"x\" FROM t WHERE a IN (tdmkaaaaaaaz) AND b = 'tdmkaaaaaabz' AND n > tdmkaaaaaacz"
        ' ORDER BY "x" asc LIMIT tdmkaaaaaadz'
    )
    assert len(bind(draft).binds) == 4


@pytest.mark.parametrize(
    "text", ["{{ x|ident }}", "a FROM t ORDER BY a {{ x|one_of('asc', 'desc') }}", '"{{ x }}"', "{{ n }}"]
)
def test_a_value_that_its_place_does_not_admit_is_an_error_of_its_parameter(text: str) -> None:
    template = Template.compile(f"SELECT {text}", Engine.POSTGRES)

    with pytest.raises(QueryValidationError) as refused:
        template.render(Values({"x": "no name", "n": 10**60}))

    assert list(refused.value.errors) in (["params.x"], ["params.n"])


def test_values_are_bounded_in_all() -> None:
    template = Template.compile("SELECT {% for i in l %}{{ x ~ i }}, {% endfor %}1", Engine.POSTGRES)

    with pytest.raises(QueryValidationError, match="at most 10000000 characters in all"):
        template.render(Values({"x": "y" * 100_000, "l": tuple(range(200))}))


def test_an_output_that_nobody_foresaw_is_a_token_too() -> None:
    recorder = Recorder((), Values())
    text = sandbox().from_string("{{ x }}{{ 'constant' }}").render({"x": "value", RECORDER: recorder})

    assert [output.slot.value for output in recorder.outputs] == ["value", "constant"]
    assert "value" not in text
    assert "constant" not in text
