//! From messages to complaints: which lines belong together.

use super::Class::{self, *};
use super::Complaint;
use super::line::{Message, pattern};
use super::patterns::{self, Head};
use super::place;
use regex::Regex;
use std::sync::LazyLock;

/// Messages after the last head that may still belong to a complaint.
const LONGEST: usize = 120;
/// Messages that may follow a request for stacks.
const ASKED: usize = 80;
/// Lines of an excerpt.
const EXCERPT: usize = 24;

/// A complaint that is being told.
struct Block<'a> {
    head: Head,
    heads: Vec<String>,
    messages: Vec<&'a Message>,
    since_head: usize,
    fatal: bool,
}

/// All complaints, in order.
pub(super) fn complaints(messages: &[Message]) -> Vec<Complaint> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    let mut asked_until = 0;
    for (index, message) in messages.iter().enumerate() {
        if is_asking(&message.text) {
            asked_until = index + ASKED;
        }
        match patterns::head(&message.text) {
            Some(head) if head.class == StackDump && (open || index < asked_until) => {
                add(&mut blocks, open, message);
            }
            Some(head) => {
                let before = &messages[index.saturating_sub(3)..index];
                place_head(&mut blocks, open, head, message, before);
                open = true;
            }
            None => add(&mut blocks, open, message),
        }
        let too_long = blocks.last().is_none_or(|b| b.since_head >= LONGEST);
        open = open && !too_long && !message.text.starts_with("---[ end");
    }
    blocks.iter().filter(|b| !is_by_design(b)).map(finish).collect()
}

/// A stack that was asked for (sysrq, backtraces of all processors) is no complaint.
fn is_asking(text: &str) -> bool {
    let asking = ["sysrq: ", "NMI backtrace for cpu", "Sending NMI ", "Dumping cpu", "task:"];
    asking.iter().any(|begin| text.starts_with(begin))
}

fn add<'a>(blocks: &mut [Block<'a>], open: bool, message: &'a Message) {
    if let Some(block) = blocks.last_mut().filter(|_| open) {
        block.messages.push(message);
        block.since_head += 1;
    }
}

fn place_head<'a>(
    blocks: &mut Vec<Block<'a>>,
    open: bool,
    head: Head,
    message: &'a Message,
    before: &'a [Message],
) {
    let goes_on = blocks.last_mut().filter(|b| open && head.follows.contains(&b.head.class));
    let causes = consequence(&message.text);
    let cause = match goes_on {
        Some(block) => Some(block),
        None => blocks.iter_mut().rev().find(|b| causes.contains(&b.head.class)),
    };
    if let Some(block) = cause {
        block.fatal |= head.fatal;
        block.messages.push(message);
        if causes.is_empty() {
            block.heads.push(message.text.clone());
            block.since_head = 0;
        }
        return;
    }
    let cut = before.iter().rposition(|m| m.text.contains("[ cut here ]"));
    let lead = cut.map_or(&[][..], |at| &before[at + 1..]);
    let heads = lead.iter().chain([message]).map(|m| m.text.clone()).collect();
    let fatal = head.fatal;
    let messages = lead.iter().chain([message]).collect();
    blocks.push(Block { head, heads, messages, since_head: 0, fatal });
}

/// Classes of complaints that a panic with this text only ends: it is no complaint of its own.
fn consequence(text: &str) -> &'static [Class] {
    if text.starts_with("Kernel Offset: ") {
        return patterns::EVERYTHING;
    }
    let Some((_, why)) = text.split_once("Kernel panic - not syncing: ") else { return &[] };
    let causes: [(&str, &'static [Class]); 9] = [
        ("Fatal exception", &[Oops, Bug, Kasan, Ubsan]),
        ("Aiee, killing interrupt handler", &[Oops, Bug, Kasan, Ubsan]),
        ("hung_task: blocked tasks", &[HungTask]),
        ("softlockup: hung tasks", &[SoftLockup]),
        ("Hard LOCKUP", &[SoftLockup]),
        ("RCU Stall", &[RcuStall]),
        ("System is deadlocked on memory", &[Oom]),
        ("Out of memory:", &[Oom]),
        ("kernel: panic_on_warn set", &[Warning]),
    ];
    let of = causes.iter().find(|(begin, _)| why.starts_with(begin)).map(|(_, classes)| *classes);
    of.unwrap_or(if why.contains("panic_on_warn set") { &[Kasan, Ubsan, Warning, Lockdep, Bug] } else { &[] })
}

/// Allocations that may fail: the kernel goes on with smaller pages, or gives up migrating a page.
///
/// arch/x86/mm/init_64.c:vmemmap_populate_hugepages falls back to base pages, so only order 0 counts;
/// mm/memory_hotplug.c:do_migrate_range tries again (5.10 does not silence the allocation).
fn is_by_design(block: &Block) -> bool {
    static HUGE: LazyLock<Regex> = LazyLock::new(|| pattern(r": vmemmap alloc failure: order:[1-9]"));
    if block.head.class != AllocFailure {
        return false;
    }
    let mut frames = place::frames(&block.messages);
    frames.any(|name| {
        matches!(&*place::without_suffix(name), "do_migrate_range" | "offline_pages" | "__offline_pages")
    }) || block.heads.iter().all(|head| HUGE.is_match(head))
}

fn finish(block: &Block) -> Complaint {
    Complaint {
        title: format!("{}{}", block.head.title, place::suffix(block.head.place, &block.messages)),
        class: block.head.class,
        fatal: block.fatal,
        excerpt: excerpt(&block.messages),
        line: block.messages.first().map_or(1, |m| m.line),
        heads: block.heads.clone(),
    }
}

/// Registers, code bytes, module lists, memory tables: in the console log, not in an excerpt.
fn excerpt(messages: &[&Message]) -> Vec<String> {
    static TABLES: LazyLock<Regex> = LazyLock::new(|| {
        pattern(concat!(
            r"^(?:R(?:[A-D]X|[SD]I|[BS]P|\d\d): |FS: |CS: |CR\d: |DR\d: |PKRU: |Code: |Modules linked in|Hardware name: |",
            r"Mem-Info:|active_anon:|Node \d|lowmem_reserve|\[ *\d+ *\] |\[ *pid *\]|Tasks state|Tainted: |",
            r"\d+ (?:total |pages |slab )?page|Swap cache|(?:Free|Total) swap|Call Trace:$|\s*</?(?:TASK|IRQ)>$|",
            r"\s*\? |\s+(?:active|inactive|unevictable|slab_|mapped|free:|kernel_misc|sec_page|isolated|zspages))"
        ))
    });
    let worth = messages.iter().filter(|m| !m.text.trim().is_empty() && !TABLES.is_match(&m.text));
    worth.take(EXCERPT).map(|m| m.raw.clone()).collect()
}
