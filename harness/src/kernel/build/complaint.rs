//! What a failed build says, out of all that it wrote. Pure.

/// Lines of a message that are shown.
const MOST: usize = 30;
/// Lines from the end where nothing looks like a message.
const LAST: usize = 8;

/// Why make ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Complaint {
    /// The disk is full.
    NoSpace,
    /// The first error as the compiler, the linker or make wrote it; the end of the log where there is none.
    Message(String),
}

/// Finds it. A compiler's error begins with the lines that say where (`In file included from`, `In function`) and ends
/// before the next line that kbuild or make wrote.
pub(super) fn of(log: &str) -> Complaint {
    if log.contains("No space left on device") || log.contains("Disk quota exceeded") {
        return Complaint::NoSpace;
    }
    let lines: Vec<&str> = log.lines().collect();
    let Some(at) = [is_compilers, is_linkers, is_makes].iter().find_map(|f| lines.iter().position(|l| f(l)))
    else {
        return Complaint::Message(lines[lines.len().saturating_sub(LAST)..].join("\n").trim().to_string());
    };
    let lead = lines[..at].iter().rev().take_while(|l| is_lead(l)).count();
    let length = lines[at + 1..].iter().take_while(|l| !is_kbuilds(l)).count();
    let message = &lines[at - lead..(at + 1 + length).min(at + MOST)];
    Complaint::Message(message.join("\n").trim_end().to_string())
}

/// `mm/slub.c:12:3: error: …`, `mm/slub.c:12:3: fatal error: …`, an assembler's `x.S:1: Error: …`
fn is_compilers(line: &str) -> bool {
    [": error: ", ": fatal error: ", ": Error: "].iter().any(|mark| {
        line.split_once(mark).is_some_and(|(place, _)| place.rsplit(':').next().is_some_and(is_number))
    })
}

/// Errors without a line number: the linker's, modpost's, objtool's, a program's that kbuild runs.
fn is_linkers(line: &str) -> bool {
    let words = [
        "undefined reference to",
        "multiple definition of",
        "collect2: error",
        "ERROR: ",
        "error: ",
        "Error: ",
    ];
    words.iter().any(|w| line.contains(w)) && !is_makes(line)
}

fn is_makes(line: &str) -> bool {
    line.starts_with("make") && line.contains("*** ") || line.starts_with("Makefile:") && line.contains("***")
}

fn is_lead(line: &str) -> bool {
    line.starts_with("In file included from ")
        || line.trim_start().starts_with("from ")
        || line.contains(": In function ")
        || line.contains(": At top level:")
}

fn is_kbuilds(line: &str) -> bool {
    let step = line.strip_prefix("  ").is_some_and(|l| {
        let verb = l.split(' ').next().unwrap_or_default();
        verb.len() > 1 && verb.bytes().all(|b| b.is_ascii_uppercase() || b"[]_-".contains(&b))
    });
    step || line.starts_with("make")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(log: &str) -> String {
        match of(log) {
            Complaint::Message(text) => text,
            Complaint::NoSpace => panic!("no space"),
        }
    }

    #[test]
    fn a_compilers_error_with_its_place_and_its_picture() {
        let log = "  CC      mm/slub.o\nmm/slub.c:1:1: warning: unused\n  CC      mm/memory_hotplug.o\n\
            In file included from ./include/linux/mm.h:1,\n                 from mm/memory_hotplug.c:10:\n\
            mm/memory_hotplug.c: In function ‘online_pages’:\n\
            mm/memory_hotplug.c:1181:9: error: ‘nmi’ undeclared (first use in this function)\n\
             1181 |         nmi = 3;\n      |         ^~~\n\
            make[4]: *** [scripts/Makefile.build:229: mm/memory_hotplug.o] Error 1\n  CC      mm/swap.o\n\
            mm/swap.c:3:1: error: another\nmake[3]: *** [scripts/Makefile.build:478: mm] Error 2\n";
        let text = message(log);
        assert_eq!(text.lines().next(), Some("In file included from ./include/linux/mm.h:1,"));
        assert_eq!(text.lines().last(), Some("      |         ^~~"));
        assert!(
            text.contains("mm/memory_hotplug.c:1181:9: error: ‘nmi’ undeclared") && !text.contains("another")
        );
    }

    #[test]
    fn a_linkers_a_scripts_and_makes_own_error() {
        assert_eq!(
            message(
                "  LD      vmlinux\nld: mm/a.o: in function `f':\nmm/a.c:(.text+0x1): undefined reference to `g'\nmake[1]: *** [x] Error 1\n"
            ),
            "mm/a.c:(.text+0x1): undefined reference to `g'"
        );
        assert_eq!(
            message(
                "make[1]: Entering directory '/b'\nmake[2]: *** No rule to make target 'mm/x.o', needed by 'mm/built-in.a'.  Stop.\nmake: *** [Makefile:1: mm] Error 2\n"
            ),
            "make[2]: *** No rule to make target 'mm/x.o', needed by 'mm/built-in.a'.  Stop."
        );
        assert_eq!(message("a\nsomething odd\n"), "a\nsomething odd");
        assert_eq!(message(""), "");
    }

    #[test]
    fn a_full_disk_is_not_the_sources_fault() {
        let log =
            "as: BFD error\nmm/a.c:1:1: fatal error: error writing to /tmp/x.s: No space left on device\n";
        assert_eq!(of(log), Complaint::NoSpace);
    }
}
