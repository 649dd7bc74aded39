//! Requests as bytes, for tools that have to send them as they lie.

/// The words as a client sends them.
pub fn encode(words: &[&[u8]]) -> Vec<u8> {
    let words: Vec<_> = words.iter().map(|word| word.to_vec()).collect();
    redis::pack_command(&words)
}
