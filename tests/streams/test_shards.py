"""Records become lines of text that cannot harm each other; what the config says is checked."""

from __future__ import annotations

from collections import Counter

import pytest

from oddlot import catalog, config
from oddlot.errors import ConfigError
from oddlot.streams.shards import Position, Shard, could_swallow


def test_a_quote_that_does_not_close_cannot_swallow_the_next_records() -> None:
    shard = Shard("s", "shardId-0", Position())
    data = [b"a,1", b'"a",2', b'"never closed,3', b"b,4", b'"two\nlines",5', b'x"y,"z', b"c,6"]
    records = [
        {"Data": one, "SequenceNumber": str(100 + number)} for number, one in enumerate(data)
    ]
    chunks = shard.take(records, b"name,count\n", Counter())
    assert [bytes(chunk.data) for chunk in chunks] == [
        b'name,count\na,1\n"a",2\n',
        b'"never closed,3\n',
        b'b,4\n"two\nlines",5\n',
        b'x"y,"z\n',
        b"c,6\n",
    ]
    assert all(chunk.end for chunk in chunks)
    text = b"".join(bytes(chunk.data) for chunk in chunks)
    assert shard.position.offset == len(text)
    assert [chunk.position for chunk in chunks] == [
        text.index(bytes(chunk.data)) for chunk in chunks
    ]
    for number, one in enumerate(data):
        assert shard.find(text.index(one)) == str(100 + number)


def test_what_could_swallow_is_told_from_what_could_not() -> None:
    assert not could_swallow(b'a,"b ""c"" d",e\n')
    assert not could_swallow(b'{"a": "5\\" pipe"}\n')
    assert could_swallow(b'a,5" pipe\n')
    assert could_swallow(b'"a,b\n')


def test_a_header_in_the_data_is_left_out() -> None:
    shard = Shard("s", "shardId-0", Position())
    counts = Counter[str]()
    records = [
        {"Data": one, "SequenceNumber": "1"} for one in (b"a,b\n", b"1,2\n", b"a,b\n", b"3,4")
    ]
    (chunk,) = shard.take(records, b"a,b\n", counts)
    assert bytes(chunk.data) == b"a,b\n1,2\n3,4\n"
    assert counts["headers"] == 2


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ('stream = ""', "stream must be"),
        ('stream = "s"\nstart = "yesterday"', "start must be trim_horizon, latest or a time"),
        ('stream = "s"\nhold = "soon"', "hold must be off or a duration"),
        ('stream = "arn:aws:kinesis:eu-west-1:123456789012:table/x"', "ARN of a stream"),
        ('strem = "s"', "did you mean stream?"),
        ("", "stream must be a text; got nothing"),
    ],
)
def test_what_is_wrong_in_the_config_is_one_line(option: str, text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config.from_text(f'[source]\ntype = "kinesis"\n{option}\n', "shop.toml")
    assert str(refused.value).startswith("shop.toml: source: ")
    assert text in str(refused.value)


def test_an_arn_tells_name_and_region() -> None:
    source = catalog.build(
        "streams",
        {"type": "kinesis", "stream": "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"},
        "shop.toml",
    )
    assert (source.name, source.access.region) == ("orders", "eu-west-1")
