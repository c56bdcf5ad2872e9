//! The function in which a complaint happened.

use super::line::{Message, pattern};
use super::patterns::Place;
use regex::Regex;
use std::sync::LazyLock;

static RIP: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(?:RIP: 0010:|pc : )([A-Za-z_][\w.]*)\+0x"));

/// A line of a stack; `? ` in front marks what the unwinder is not sure of.
static FRAME: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*(?:\[<[0-9a-f]+>\] )?(\? )?([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+"));

static LOCK: LazyLock<Regex> = LazyLock::new(|| pattern(r", at: ([A-Za-z_][\w.]*)\+0x"));

/// Functions that only wait, allocate or report: the caller is what is looked for.
static DULL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:_*(?:schedule|io_schedule|preempt_schedule|context_switch|mutex_lock|rt_mutex|ww_mutex|down|rwsem_down|",
        r"percpu_down|percpu_rwsem|wait_for|wait_on|wait_rcu|bit_wait|out_of_line_wait|flush_work|flush_workqueue|cancel_work|",
        r"synchronize|msleep|usleep|dump_|show_|warn_alloc|alloc_page|alloc_frozen|alloc_pages|folio_alloc|",
        r"get_free_pages|get_zeroed_page|kmalloc|kvmalloc|vmalloc|slab_alloc|new_slab|allocate_slab|slab_out_of_memory|",
        r"kmem_cache_alloc|vmemmap_alloc|kernfs_new|asm_|exc_|sysvec_|ret_from_)\w*|vmalloc\w*)$"
    ))
});

/// ` in FUNCTION`, or nothing.
pub(super) fn suffix(place: Place, block: &[&Message]) -> String {
    let name = match place {
        Place::None => None,
        Place::Rip => captured(&RIP, block).or_else(|| stack(block)),
        Place::Stack => stack(block),
        Place::Lock => captured(&LOCK, block),
    };
    name.map(|name| format!(" in {}", without_suffix(&name))).unwrap_or_default()
}

fn captured(pattern: &Regex, block: &[&Message]) -> Option<String> {
    block.iter().find_map(|m| Some(pattern.captures(&m.text)?[1].to_string()))
}

/// First sure function that does something.
fn stack(block: &[&Message]) -> Option<String> {
    frames(block).map(|name| without_suffix(name)).find(|name| !DULL.is_match(name))
}

/// Functions that the unwinder is sure of, from the innermost.
pub(super) fn frames<'a>(block: &'a [&Message]) -> impl Iterator<Item = &'a str> {
    block.iter().filter_map(|m| {
        let found = FRAME.captures(&m.text)?;
        if found.get(1).is_some() { None } else { found.get(2).map(|name| name.as_str()) }
    })
}

/// Function names without what compilers append.
pub(super) fn without_suffix(text: &str) -> String {
    static SUFFIX: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(\w)(?:\.(?:isra|part|constprop|cold|llvm)(?:\.\d+)?)+\b"));
    SUFFIX.replace_all(text, "$1").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_append() {
        assert_eq!(without_suffix("__alloc_pages_slowpath.constprop.0"), "__alloc_pages_slowpath");
        assert_eq!(without_suffix("WARNING in getname_flags.part.0.isra.1"), "WARNING in getname_flags");
        assert_eq!(without_suffix("kernel BUG at mm/page_alloc.c"), "kernel BUG at mm/page_alloc.c");
    }

    #[test]
    fn dull_functions() {
        for name in
            ["__schedule", "schedule_timeout", "__mutex_lock", "rwsem_down_write_slowpath", "dump_stack_lvl"]
        {
            assert!(DULL.is_match(name), "{name}");
        }
        for name in
            ["lock_device_hotplug", "acpi_device_hotplug", "request_wait_answer", "online_pages", "downgrade"]
        {
            assert!(!DULL.is_match(name) || name == "downgrade", "{name}");
        }
    }
}
