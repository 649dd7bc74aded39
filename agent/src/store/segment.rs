//! The bytes of a log segment: header, records, footer, trailer. Pure functions over slices.
//!
//! ```text
//! 0     header: magic, format version, store id, salt, first commit, file length, checksum; a page of its own
//! 4096  records, each aligned to 8 bytes
//!       footer: a record whose position in its group is FOOTER; written when the segment is sealed
//! end   trailer: where the footer begins, salt, checksum
//!
//! record: length u32, position in its group u32, checksum u64, salt u64, commit u64, payload, padding
//! ```
//!
//! Everything is little-endian. The checksum (xxh3-64) covers all of a record but itself. The salt is drawn afresh for each
//! use of a file, so what an earlier use left behind never looks like a record. The position in the group tells a torn
//! last group (later records of the same group may be whole) from damage (a record of a later group, which was written
//! after this one was durable).
//!
//! Invariant: nothing is allocated by a length that was read; lengths are capped by the bytes left first.

use std::fmt;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The version of everything in this file.
pub const FORMAT_VERSION: u32 = 1;
/// Records begin here: no write of a record touches the header's page.
pub const HEADER_BYTES: u64 = 4096;
/// The fixed part of a record.
pub const FRAME_BYTES: usize = 32;
/// The end of a sealed segment.
pub const TRAILER_BYTES: u64 = TRAILER_SIZE as u64;
/// The same, of an array.
pub const TRAILER_SIZE: usize = 32;

const MAGIC: [u8; 8] = *b"EVRTLOG\0";
const HEADER_USED_BYTES: usize = 64;
const FOOTER: u32 = u32::MAX;
const ALIGN: u64 = 8;

/// Names one store: both its parts carry it, so that parts of two stores are never mixed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a log must know of the store it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct LogIdentity {
    /// The store.
    pub store: StoreId,
    /// Fresh randomness of this start; salts are drawn from it.
    pub salt_seed: u64,
}

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The store that the segment belongs to.
    pub store: StoreId,
    /// This use's salt; never zero.
    pub salt: u64,
    /// The commit of the first record.
    pub first_commit: u64,
    /// The file's length in bytes.
    pub length: u64,
}

/// Why a header was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadHeader {
    /// Not a header, or a damaged one.
    Damaged,
    /// A whole header of another format version.
    Version(u32),
}

impl Header {
    /// The header's page.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(size(HEADER_BYTES));
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(&self.store.0);
        page.extend_from_slice(&self.salt.to_le_bytes());
        page.extend_from_slice(&self.first_commit.to_le_bytes());
        page.extend_from_slice(&self.length.to_le_bytes());
        let checksum = xxh3_64(&page);
        page.extend_from_slice(&checksum.to_le_bytes());
        page.resize(size(HEADER_BYTES), 0);
        page
    }

    /// Reads a header from the start of a segment.
    pub fn decode(page: &[u8]) -> Result<Self, BadHeader> {
        let used = page.get(..HEADER_USED_BYTES).ok_or(BadHeader::Damaged)?;
        let (body, checksum) = used.split_at(HEADER_USED_BYTES - 8);
        if body[..8] != MAGIC || xxh3_64(body) != u64_at(checksum, 0) {
            return Err(BadHeader::Damaged);
        }
        let version = u32_at(body, 8);
        if version != FORMAT_VERSION {
            return Err(BadHeader::Version(version));
        }
        let mut store = [0; 16];
        store.copy_from_slice(&body[16..32]);
        Ok(Self {
            store: StoreId(store),
            salt: u64_at(body, 32),
            first_commit: u64_at(body, 40),
            length: u64_at(body, 48),
        })
    }
}

/// The fixed part of a record, checked against what surrounds it but not yet against its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The commit number.
    pub commit: u64,
    /// The payload's length.
    pub length: usize,
    /// The position in the group.
    position: u32,
    checksum: u64,
}

impl Frame {
    /// Reads a frame if its salt is this segment's and its payload lies within `left` bytes from the frame's start.
    pub fn decode(bytes: &[u8], salt: u64, left: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_BYTES)?;
        let length = u32_at(bytes, 0);
        if u64_at(bytes, 16) != salt || u64::from(length) + FRAME_BYTES as u64 > left {
            return None;
        }
        Some(Self {
            commit: u64_at(bytes, 24),
            length: length as usize,
            position: u32_at(bytes, 4),
            checksum: u64_at(bytes, 8),
        })
    }

    /// Whether the footer begins here.
    pub fn is_footer(&self) -> bool {
        self.position == FOOTER
    }

    /// Whether this record is proof that `commit` had been durable: it belongs to a group that began later.
    pub fn proves_durable(&self, commit: u64) -> bool {
        if self.is_footer() {
            return self.commit >= commit;
        }
        self.commit.saturating_sub(u64::from(self.position)) > commit
    }

    /// Bytes that the record takes, its padding included.
    pub fn padded_bytes(&self) -> u64 {
        padded(FRAME_BYTES as u64 + self.length as u64)
    }

    /// Whether `record`, from the frame's start to the payload's end, is whole.
    pub fn matches(&self, record: &[u8]) -> bool {
        record.len() == FRAME_BYTES + self.length
            && u32::try_from(self.length).is_ok_and(|length| checksum(record, length, self.position) == self.checksum)
    }
}

/// Bytes that a payload of `length` takes in a segment.
pub fn record_bytes(length: usize) -> u64 {
    padded(FRAME_BYTES as u64 + length as u64)
}

/// Appends a record to `out`; `position` counts from 0 within its group. The payload's length must fit 32 bits.
pub fn encode_record(out: &mut Vec<u8>, salt: u64, commit: u64, position: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("the caller has checked the payload's length");
    let start = out.len();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&salt.to_le_bytes());
    out.extend_from_slice(&commit.to_le_bytes());
    out.extend_from_slice(payload);
    let sum = checksum(&out[start..], length, position);
    out[start + 8..start + 16].copy_from_slice(&sum.to_le_bytes());
    out.resize(start + size(record_bytes(payload.len())), 0);
}

/// Appends the footer's record to `out`; `last_commit` is the segment's last.
pub fn encode_footer(out: &mut Vec<u8>, salt: u64, last_commit: u64, payload: &[u8]) {
    encode_record(out, salt, last_commit, FOOTER, payload);
}

/// The trailer of a segment whose footer begins at `footer_offset`.
pub fn encode_trailer(salt: u64, footer_offset: u64) -> [u8; TRAILER_SIZE] {
    let mut out = [0; TRAILER_SIZE];
    out[..8].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&footer_offset.to_le_bytes());
    out[16..24].copy_from_slice(&salt.to_le_bytes());
    let sum = xxh3_64(&out[..24]);
    out[24..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Where the footer begins, if `bytes` is a trailer of this use of the segment.
pub fn decode_trailer(bytes: &[u8; TRAILER_SIZE], salt: u64) -> Option<u64> {
    let whole = bytes[..8] == MAGIC && xxh3_64(&bytes[..24]) == u64_at(bytes, 24);
    (whole && u64_at(bytes, 16) == salt).then(|| u64_at(bytes, 8))
}

/// The file name of a segment in use.
pub fn live_name(first_commit: u64) -> String {
    format!("{first_commit:016x}.seg")
}

/// The first commit that a segment's name promises, if `name` is that of a segment in use.
pub fn parse_live_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let commit = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())??;
    // `+` and upper case parse too, but are not our spelling.
    (live_name(commit) == name).then_some(commit)
}

/// A piece of a file, small enough to be held in memory by whoever asks.
pub(super) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a piece of a file that is read at once fits the address space")
}

fn checksum(record: &[u8], length: u32, position: u32) -> u64 {
    let seed = u64::from(length) | u64::from(position) << 32;
    xxh3_64_with_seed(&record[16..], seed)
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x1234_5678_9abc_def0;

    fn record(commit: u64, position: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_record(&mut out, SALT, commit, position, payload);
        out
    }

    #[test]
    fn a_record_reads_back_and_any_flipped_bit_is_noticed() {
        let payload = b"hello, log";
        let bytes = record(7, 2, payload);
        assert_eq!(bytes.len() as u64, record_bytes(payload.len()));
        let used = FRAME_BYTES + payload.len();
        let whole = |bytes: &[u8]| {
            Frame::decode(bytes, SALT, bytes.len() as u64).is_some_and(|frame| {
                bytes.len() >= FRAME_BYTES + frame.length && frame.matches(&bytes[..FRAME_BYTES + frame.length])
            })
        };
        assert!(whole(&bytes));
        for bit in 0..used * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!whole(&flipped), "bit {bit} of the record is not covered");
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_left_is_no_frame() {
        let bytes = record(1, 0, b"12345678");
        assert!(Frame::decode(&bytes, SALT, 40).is_some());
        assert!(Frame::decode(&bytes, SALT, 39).is_none());
        assert!(Frame::decode(&[0; FRAME_BYTES], SALT, 4096).is_none());
    }

    #[test]
    fn only_a_later_group_proves_durability() {
        let frame = |commit, position| Frame::decode(&record(commit, position, b""), SALT, 4096).unwrap();
        assert!(!frame(10, 3).proves_durable(7), "same group");
        assert!(frame(10, 2).proves_durable(7), "a group that began at 8");
        assert!(frame(8, 0).proves_durable(7));
        let mut footer = Vec::new();
        encode_footer(&mut footer, SALT, 7, b"");
        assert!(Frame::decode(&footer, SALT, 4096).unwrap().proves_durable(7));
    }

    #[test]
    fn the_header_keeps_its_bytes() {
        let header = Header { store: StoreId([0xab; 16]), salt: SALT, first_commit: 5, length: 1 << 20 };
        let page = header.encode();
        assert_eq!(page.len() as u64, HEADER_BYTES);
        assert_eq!(Header::decode(&page), Ok(header));
        let golden = "455652544c4f470001000000000000\
                      00abababababababababababababababab\
                      f0debc9a785634120500000000000000\
                      0000100000000000";
        let frozen: Vec<u8> = (0..56).map(|at| u8::from_str_radix(&golden[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert_eq!(page[..56], frozen, "a changed byte needs a new FORMAT_VERSION");
        let mut other = page;
        other[8] = 2;
        let sum = xxh3_64(&other[..56]);
        other[56..64].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::decode(&other), Err(BadHeader::Version(2)));
        other[20] ^= 1;
        assert_eq!(Header::decode(&other), Err(BadHeader::Damaged));
    }

    #[test]
    fn names_of_segments_are_exact() {
        assert_eq!(parse_live_name(&live_name(0x1f)), Some(0x1f));
        for bad in ["spare-1.seg", "1f.seg", "+00000000000001f.seg", "000000000000001F.seg", "000000000000001f"] {
            assert_eq!(parse_live_name(bad), None, "{bad}");
        }
    }
}
