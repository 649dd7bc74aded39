//! Arguments in the notation of manual pages, and the tree that `COMMAND DOCS` makes of them.
//!
//! `key value [NX | XX] [EX seconds | KEEPTTL] [key value ...]`: lower case names an argument, upper case is a literal
//! word (with the argument after it: a named option), `[…]` is optional, `<a | b>` a choice, `…` repeats what stands
//! before it in the same brackets. One line per command is easier to keep right than a tree of constants.

use super::resp::Reply;

/// One argument as clients are told of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Arg<'a> {
    /// Its name, empty for a nameless group.
    pub name: &'a str,
    /// The literal word before it, or that it is.
    pub token: Option<&'a str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// What it consists of.
    pub shape: Shape<'a>,
}

/// What an argument consists of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Shape<'a> {
    /// One word.
    #[default]
    Word,
    /// Nothing but its literal.
    Token,
    /// One of these.
    OneOf(Vec<Arg<'a>>),
    /// All of these, in order.
    Block(Vec<Arg<'a>>),
}

/// Reads the notation.
pub fn parse(syntax: &str) -> Vec<Arg<'_>> {
    let pieces = syntax.split_inclusive([' ', '[', ']', '<', '>']).flat_map(split_word);
    alternatives(&mut pieces.collect::<Vec<_>>().into_iter().peekable())
}

/// A piece of the text up to a delimiter, as the word and the bracket that ended it.
fn split_word(piece: &str) -> impl Iterator<Item = &str> {
    let (word, end) = match piece.strip_suffix(['[', ']', '<', '>', ' ']) {
        Some(word) => (word, piece[word.len()..].trim()),
        None => (piece, ""),
    };
    [word, end].into_iter().filter(|part| !part.is_empty())
}

type Words<'a> = std::iter::Peekable<std::vec::IntoIter<&'a str>>;

/// Everything up to the closing bracket: a list, or one choice if there are bars.
fn alternatives<'a>(words: &mut Words<'a>) -> Vec<Arg<'a>> {
    let mut choices = Vec::new();
    let mut list: Vec<Arg<'a>> = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "]" | ">" => break,
            "|" => choices.push(block(std::mem::take(&mut list))),
            "..." => {
                if let Some(last) = list.last_mut() {
                    last.multiple = true;
                }
            }
            "[" => {
                let inner = alternatives(words);
                let repeats = list.len() >= inner.len() && inner.last().is_some_and(|last| last.multiple);
                if repeats && same_names(&list[list.len() - inner.len()..], &inner) {
                    let repeated = list.split_off(list.len() - inner.len());
                    list.push(Arg { multiple: true, ..block(repeated) });
                } else {
                    list.push(Arg { optional: true, ..block(inner) });
                }
            }
            "<" => list.push(block(alternatives(words))),
            token if token.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') => {
                list.push(option(token, words));
            }
            name => list.push(Arg { name, ..Arg::default() }),
        }
    }
    if choices.is_empty() {
        return list;
    }
    choices.push(block(list));
    vec![Arg { shape: Shape::OneOf(choices), ..Arg::default() }]
}

/// A literal word, with the argument that belongs to it if one follows.
fn option<'a>(token: &'a str, words: &mut Words<'a>) -> Arg<'a> {
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let mut named: Vec<Arg<'a>> = Vec::new();
    while let Some(name) = words.next_if(is_name) {
        named.push(Arg { name, ..Arg::default() });
    }
    match named.len() {
        0 if words.next_if_eq(&"<").is_some() => Arg { token: Some(token), ..block(alternatives(words)) },
        0 => Arg { name: token, token: Some(token), shape: Shape::Token, ..Arg::default() },
        _ => Arg { token: Some(token), ..block(named) },
    }
}

/// Several arguments as one; a single one as itself.
fn block(mut list: Vec<Arg<'_>>) -> Arg<'_> {
    if list.len() == 1 {
        return list.remove(0);
    }
    Arg { shape: Shape::Block(list), ..Arg::default() }
}

/// `key value [key value ...]`: the bracket repeats what stands before it.
fn same_names(before: &[Arg<'_>], inner: &[Arg<'_>]) -> bool {
    before.iter().zip(inner).all(|(one, other)| one.name == other.name && !one.name.is_empty())
}

/// Writes arguments the way `COMMAND DOCS` lists them.
pub(super) fn describe(list: &[Arg<'_>], reply: &mut Reply<'_>) {
    reply.array(list.len());
    for arg in list {
        let flags: Vec<&str> = [(arg.optional, "optional"), (arg.multiple, "multiple")]
            .into_iter()
            .filter_map(|(on, flag)| on.then_some(flag))
            .collect();
        let (kind, inner) = match &arg.shape {
            Shape::Word => (word_kind(arg.name), None),
            Shape::Token => ("pure-token", None),
            Shape::OneOf(choices) => ("oneof", Some(choices)),
            Shape::Block(parts) => ("block", Some(parts)),
        };
        let is_key = kind == "key";
        let pairs = 2 + [arg.token.is_some(), is_key, !flags.is_empty(), inner.is_some()]
            .map(usize::from)
            .iter()
            .sum::<usize>();
        reply.map(pairs);
        pair(reply, "name", &shown_name(arg));
        pair(reply, "type", kind);
        if is_key {
            reply.bulk(b"key_spec_index");
            reply.int(0);
        }
        if let Some(token) = arg.token {
            pair(reply, "token", token);
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.into_iter().for_each(|flag| reply.status(flag));
        }
        if let Some(inner) = inner {
            reply.bulk(b"arguments");
            describe(inner, reply);
        }
    }
}

fn pair(reply: &mut Reply<'_>, key: &str, value: &str) {
    reply.bulk(key.as_bytes());
    reply.bulk(value.as_bytes());
}

/// A group's name is made of its members'.
fn shown_name(arg: &Arg<'_>) -> String {
    match &arg.shape {
        Shape::Word | Shape::Token => arg.name.to_lowercase(),
        Shape::OneOf(parts) | Shape::Block(parts) => parts.iter().map(shown_name).collect::<Vec<_>>().join("_"),
    }
}

/// The type of a word, by its name.
fn word_kind(name: &str) -> &'static str {
    match name {
        "key" => "key",
        "pattern" => "pattern",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        "seconds" | "milliseconds" | "count" | "start" | "end" | "offset" | "increment" | "decrement" | "index"
        | "cursor" | "numreplicas" | "timeout" | "protover" | "client-id" => "integer",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(name: &str) -> Arg<'_> {
        Arg { name, ..Arg::default() }
    }

    fn token(name: &str) -> Arg<'_> {
        Arg { name, token: Some(name), shape: Shape::Token, ..Arg::default() }
    }

    #[test]
    fn options_choices_and_literals_are_told_apart() {
        let parsed = parse("key value [NX | XX] [GET] [EX seconds | KEEPTTL]");
        let expected = [
            word("key"),
            word("value"),
            Arg { optional: true, shape: Shape::OneOf(vec![token("NX"), token("XX")]), ..Arg::default() },
            Arg { optional: true, ..token("GET") },
            Arg {
                optional: true,
                shape: Shape::OneOf(vec![Arg { token: Some("EX"), ..word("seconds") }, token("KEEPTTL")]),
                ..Arg::default()
            },
        ];
        assert_eq!(parsed, expected);
    }

    #[test]
    fn a_bracket_that_repeats_its_neighbours_makes_them_multiple() {
        assert_eq!(parse("key [key ...]"), [Arg { multiple: true, ..word("key") }]);
        let pair = Arg { multiple: true, shape: Shape::Block(vec![word("key"), word("value")]), ..Arg::default() };
        assert_eq!(parse("key value [key value ...]"), [pair]);
        assert_eq!(parse("[pattern ...]"), [Arg { optional: true, multiple: true, ..word("pattern") }]);
    }

    #[test]
    fn an_option_takes_the_words_or_the_choice_behind_it() {
        let parsed = parse("[AUTH username password] [TYPE <A | B>]");
        let shape = Shape::Block(vec![word("username"), word("password")]);
        assert_eq!(parsed[0], Arg { token: Some("AUTH"), optional: true, shape, ..Arg::default() });
        let shape = Shape::OneOf(vec![token("A"), token("B")]);
        assert_eq!(parsed[1], Arg { token: Some("TYPE"), optional: true, shape, ..Arg::default() });
    }
}
