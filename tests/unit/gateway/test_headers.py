"""Headers on their way inward and outward."""

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from services.gateway.proxy import inward_headers, inward_url, outward_headers

_CHUNKED = (b"transfer-encoding", b"chunked")
_SENT = [
    (b"host", b"outside"),
    (b"authorization", b"Bearer outside"),
    (b"cookie", b"session=1"),
    (b"connection", b"keep-alive, X-Private"),
    (b"keep-alive", b"timeout=5"),
    (b"x-private", b"1"),
    (b"te", b"trailers"),
    (b"upgrade", b"websocket"),
    (b"transfer-encoding", b"chunked"),
    (b"expect", b"100-continue"),
    (b"forwarded", b"for=1.2.3.4"),
    (b"x-forwarded-for", b"1.2.3.4"),
    (b"x-tidemark-tenant", b"somebody"),
    (b"x-internal-user", b"root"),
    (b"traceparent", b"00-11111111111111111111111111111111-2222222222222222-01"),
    (b"baggage", b"a=b"),
    (b"content-type", b"application/json"),
    (b"prefer", b"wait=5"),
    (b"idempotency-key", b"k"),
    (b"accept", b"a"),
    (b"accept", b"b"),
    (b"x-custom", b"caf\xe9"),
]


def test_credentials_and_spoofed_headers_end_at_the_gateway() -> None:
    inward = inward_headers(_SENT, "internal")
    assert inward == [
        ("content-type", "application/json"),
        ("prefer", "wait=5"),
        ("idempotency-key", "k"),
        ("accept", "a"),
        ("accept", "b"),
        ("x-custom", "café"),
        ("authorization", "Bearer internal"),
    ]


def test_a_length_beside_chunks_is_not_believed() -> None:
    for sent, kept in (([(b"content-length", b"5")], True), ([(b"content-length", b"5"), _CHUNKED], False)):
        assert (("content-length", "5") in inward_headers(sent, "internal")) is kept


def test_the_trace_goes_on_with_its_own_decision() -> None:
    for flags in (TraceFlags(0), TraceFlags(1)):
        span = NonRecordingSpan(SpanContext(0x1, 0x2, is_remote=False, trace_flags=flags))
        with trace.use_span(span):
            inward = dict(inward_headers(_SENT, "internal"))
        assert inward["traceparent"] == f"00-{1:032x}-{2:016x}-{flags:02x}"


def test_an_answer_keeps_its_own_headers() -> None:
    answered = [
        (b"Content-Type", b"application/json"),
        (b"Location", b"/mining-jobs/1"),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Date", b"now"),
        (b"Server", b"uvicorn"),
    ]
    assert outward_headers(answered) == [
        (b"content-type", b"application/json"),
        (b"location", b"/mining-jobs/1"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]


def test_path_and_query_go_inward_byte_for_byte() -> None:
    scope = {"raw_path": b"/spaces/a%20b%2Bc/usage", "query_string": b"q=%7Bx%7D&a=1+2&&b"}
    assert str(inward_url("http://inside:1/", scope)) == "http://inside:1/spaces/a%20b%2Bc/usage?q=%7Bx%7D&a=1+2&&b"
