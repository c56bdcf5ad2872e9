//! The header of a mail, as far as a reply needs it (RFC 5322). Pure.

/// Fields of a header, unfolded, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header(Vec<(String, String)>);

impl Header {
    /// Reads the lines up to the first empty one. Lines that are no field (mbox's `From `, rubbish) are left out.
    pub fn parse(mail: &[u8]) -> Self {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in String::from_utf8_lossy(mail).lines() {
            if line.is_empty() {
                break;
            }
            match (line.starts_with([' ', '\t']), fields.last_mut()) {
                (true, Some((_, value))) => *value = format!("{value} {}", line.trim()),
                _ => fields.extend(field(line)),
            }
        }
        Self(fields)
    }

    /// The first field of this name, in any case; an empty one is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|v| !v.is_empty())
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    // A control character in a value that is printed again could begin a line or drive a terminal.
    let value = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    is_name.then(|| (name.to_string(), value.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_fields_and_what_is_none() {
        let text = b"From 0123 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: [PATCH\n 1/2] x: y\nReferences: <a@b>\n\t<c@d>\n\
                     rubbish\nX-Esc: a\x1b[2Jb\nCc:\n\nTo: body@example.org\n";
        let header = Header::parse(text);
        assert_eq!(header.get("subject"), Some("[PATCH 1/2] x: y"));
        assert_eq!(header.get("From"), Some("A <a@example.org>"));
        assert_eq!(header.get("References"), Some("<a@b> <c@d>"));
        assert_eq!(header.get("X-Esc"), Some("a [2Jb"));
        assert_eq!((header.get("Cc"), header.get("To")), (None, None));
    }
}
