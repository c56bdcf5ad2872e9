//! Files on their way into the guest.

use wire::Ask;

/// Bytes of a file in one message.
const PART: usize = 24 * 1024;

/// Requests that store `bytes` as `path` in the guest, in order.
pub fn parts(path: &str, mode: u32, bytes: &[u8]) -> Vec<Ask> {
    let part = |(index, part): (usize, &[u8])| Ask::Put {
        path: path.to_string(),
        mode,
        offset: (index * PART) as u64,
        base64: wire::base64::encode(part),
    };
    if bytes.is_empty() { vec![part((0, bytes))] } else { bytes.chunks(PART).enumerate().map(part).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file() {
        let sizes = |n| parts("/x", 0o755, &vec![0; n]).len();
        assert_eq!((sizes(0), sizes(PART), sizes(PART + 1)), (1, 1, 2));
    }
}
