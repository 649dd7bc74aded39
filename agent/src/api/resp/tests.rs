//! What the codec promises: the same requests however the stream was cut, no panic on any bytes, Redis's texts.

use proptest::prelude::*;

use super::*;

const SMALL: Limits = Limits { inline_bytes_max: 64, args_max: 8, bulk_bytes_max: 100, request_bytes_max: 300 };

/// Feeds `stream` in the given pieces, as a connection does; returns the requests and how the stream ended.
fn requests(pieces: &[&[u8]], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut parser = RequestParser::new();
    let mut input = Vec::new();
    let mut seen = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match parser.parse(&input, limits) {
                Ok(Some(len)) => {
                    seen.push(parser.args(&input).from(0).map(<[u8]>::to_vec).collect());
                    input.drain(..len);
                }
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

fn one(stream: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    requests(&[stream], &SMALL)
}

/// The same, read ahead, of which no more than `most` are taken before the rest is forgotten.
fn requests_ahead(pieces: &[&[u8]], limits: &Limits, most: usize) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut requests = Requests::default();
    let mut input = Vec::new();
    let mut seen: Vec<Vec<Vec<u8>>> = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while requests.read_ahead(&input, limits) > 0 {
            assert!(requests.keys(&input).count() <= requests.len());
            for _ in 0..most {
                match requests.take(&input) {
                    Ok(Some(args)) => seen.push(args.from(0).map(<[u8]>::to_vec).collect()),
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error)),
                }
            }
            let bytes = requests.taken_bytes();
            requests.forget();
            input.drain(..bytes);
        }
        assert!(!requests.may_follow() || input.is_empty(), "what is left is not whole");
    }
    (seen, None)
}

fn words(texts: &[&[u8]]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.to_vec()).collect()
}

fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Proto::Resp2);
    reply.array(request.len());
    for arg in request {
        reply.bulk(arg);
    }
    out
}

#[test]
fn pipelined_requests_of_both_forms_come_out_in_order() {
    let (seen, error) = one(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\n*0\r\n*-1\r\nSET a \"b c\"\n");
    assert_eq!(error, None);
    let expected = [words(&[b"GET", b"k"]), words(&[b"PING"]), vec![], vec![], vec![], words(&[b"SET", b"a", b"b c"])];
    assert_eq!(seen, expected);
}

#[test]
fn inline_quotes_follow_the_shells_of_redis() {
    let (seen, _) = one(b"a \"\\x00\\n\\q\" 'it\\'s' x\"y\"\n");
    assert_eq!(seen, [words(&[b"a", b"\0\nq", b"it's", b"xy"])]);
    for line in [&b"a \"b\n"[..], b"a 'b\n", b"a \"b\"c\n", b"'b'c\n", b"\"b\\\n"] {
        assert_eq!(one(line).1, Some(ProtocolError::UnbalancedQuotes), "{}", line.escape_ascii());
    }
}

#[test]
fn keys_are_known_before_their_requests_are_taken() {
    let input =
        [&encode(&words(&[b"SET", b"a", b"1"]))[..], &encode(&words(&[b"PING"])), b"GET b\r\nGET c\r\n"].concat();
    let mut requests = Requests::default();
    assert_eq!(requests.read_ahead(&input, &SMALL), 3, "an inline command ends what is read ahead");
    assert_eq!(requests.keys(&input).collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(requests.take(&input).unwrap().map(|args| args.len()), Some(3));
    assert_eq!(requests.keys(&input).collect::<Vec<_>>(), [b"b"]);
    assert!(requests.may_follow());
}

#[test]
fn protocol_errors_have_the_texts_of_redis() {
    let cases: [(&[u8], &str); 9] = [
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*9\r\n", "Protocol error: invalid multibulk length"),
        (b"*+1\r\n", "Protocol error: invalid multibulk length"),
        (b"*1\r\n+OK\r\n", "Protocol error: expected '$', got '+'"),
        (b"*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$101\r\n", "Protocol error: invalid bulk length"),
        (&[b'a'; 65], "Protocol error: too big inline request"),
        (
            b"*1\r\n$5555555555555555555555555555555555555555555555555555555555555555555",
            "Protocol error: too big bulk count string",
        ),
    ];
    for (stream, text) in cases {
        let error = one(stream).1.unwrap_or_else(|| panic!("{} passed", stream.escape_ascii()));
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_request_longer_than_the_limit_is_refused_by_what_it_announces() {
    let stream = encode(&vec![vec![b'x'; 100]; 4]);
    let announced = stream.len() - 102;
    assert_eq!(one(&stream[..announced]).1, Some(ProtocolError::RequestTooBig));
}

#[test]
fn integers_have_one_form() {
    for text in ["0", "7", "-1", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(parse_i64(text.as_bytes()).map(|value| value.to_string()).as_deref(), Some(text));
    }
    for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "1e3"] {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn each_shape_is_spelled_in_both_versions() {
    let both = |write: &dyn Fn(&mut Reply<'_>)| {
        [Proto::Resp2, Proto::Resp3].map(|proto| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, proto));
            String::from_utf8(out).unwrap()
        })
    };
    assert_eq!(both(&|r| r.null()), ["$-1\r\n", "_\r\n"]);
    assert_eq!(both(&|r| r.null_array()), ["*-1\r\n", "_\r\n"]);
    assert_eq!(both(&|r| r.map(2)), ["*4\r\n", "%2\r\n"]);
    assert_eq!(both(&|r| r.set(2)), ["*2\r\n", "~2\r\n"]);
    assert_eq!(both(&|r| r.push(2)), ["*2\r\n", ">2\r\n"]);
    assert_eq!(both(&|r| r.boolean(true)), [":1\r\n", "#t\r\n"]);
    assert_eq!(both(&|r| r.double(1.5)), ["$3\r\n1.5\r\n", ",1.5\r\n"]);
    assert_eq!(both(&|r| r.double(f64::NEG_INFINITY)), ["$4\r\n-inf\r\n", ",-inf\r\n"]);
    assert_eq!(both(&|r| r.verbatim("hi")), ["$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"]);
    assert_eq!(both(&|r| r.int(i64::MIN))[0], ":-9223372036854775808\r\n");
    assert_eq!(both(&|r| r.digits(1000))[0], "$4\r\n1000\r\n");
    assert_eq!(both(&|r| r.digits(0))[0], "$1\r\n0\r\n");
    assert_eq!(both(&|r| r.text(&12.25))[0], "$5\r\n12.25\r\n");
    assert_eq!(both(&|r| r.error(&"ERR two\r\nlines"))[0], "-ERR two  lines\r\n");
}

#[test]
fn a_retracted_reply_leaves_what_stood_before_it() {
    let mut out = b"+OK\r\n".to_vec();
    let mut reply = Reply::new(&mut out, Proto::Resp2);
    reply.array(3);
    reply.int(1);
    reply.retract();
    reply.error(&"ERR no");
    assert_eq!(out, b"+OK\r\n-ERR no\r\n");
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..6)
}

proptest! {
    #[test]
    fn a_stream_means_the_same_wherever_it_is_cut(list in prop::collection::vec(request(), 1..5), seed: u64) {
        let stream: Vec<u8> = list.iter().flat_map(|request| encode(request)).collect();
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(requests(&bytes, &SMALL), (list.clone(), None));
        let cut = usize::try_from(seed % stream.len() as u64).unwrap();
        prop_assert_eq!(requests(&[&stream[..cut], &stream[cut..]], &SMALL), (list, None));
    }

    #[test]
    fn any_bytes_are_parsed_alike_whole_and_byte_by_byte(stream in prop::collection::vec(
        prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'0'), Just(b'"'), any::<u8>()], 0..200,
    )) {
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        let whole = requests(&[&stream], &SMALL);
        let pieces = requests(&bytes, &SMALL);
        prop_assert_eq!(&whole, &pieces);
        for most in [1, 2, usize::MAX] {
            prop_assert_eq!(&whole, &requests_ahead(&[&stream], &SMALL, most));
            prop_assert_eq!(&whole, &requests_ahead(&bytes, &SMALL, most));
        }
    }

    #[test]
    fn many_requests_are_read_ahead_as_they_are_one_by_one(
        list in prop::collection::vec(request(), 1..200), most in 1..100_usize,
    ) {
        let stream: Vec<u8> = list.iter().flat_map(|request| encode(request)).collect();
        prop_assert_eq!(requests_ahead(&[&stream], &SMALL, most), (list, None));
    }

    #[test]
    fn what_replies_say_is_what_another_parser_reads(value: i64, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Proto::Resp3);
        reply.array(3);
        reply.int(value);
        reply.bulk(&bytes);
        reply.null();
        let read = redis::parse_redis_value(&out).unwrap();
        let expected = [redis::Value::Int(value), redis::Value::BulkString(bytes), redis::Value::Nil];
        prop_assert_eq!(read, redis::Value::Array(expected.to_vec()));
    }
}
