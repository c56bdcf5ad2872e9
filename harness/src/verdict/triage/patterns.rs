//! The texts that begin a complaint. Each is anchored at the beginning of its message, behind `subsystem: ` at most.
//!
//! Order matters: the first that matches wins. The texts were compared with the sources of 5.10, 6.1, 6.12 and 7.3;
//! functions named here are where they are printed.

use super::Class::{self, *};
use super::line::{pattern, stable};
use regex::Regex;
use regex::bytes::{RegexSet, RegexSetBuilder};
use std::sync::LazyLock;

/// Where the name of a function comes from that ends the title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// the title says all
    None,
    /// the first kernel RIP (arm64: pc), else the stack
    Rip,
    /// the first function of the stack that is not about waiting or allocating
    Stack,
    /// the first `at: FUNCTION` of lockdep
    Lock,
}

/// What a message announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) class: Class,
    pub(super) fatal: bool,
    pub(super) title: String,
    pub(super) place: Place,
    /// classes of complaints that it belongs to if one of them is just being told
    pub(super) follows: &'static [Class],
}

struct Pattern {
    class: Class,
    fatal: bool,
    text: &'static str,
    title: &'static str,
    place: Place,
    follows: &'static [Class],
}

const fn fatal(class: Class, text: &'static str, title: &'static str) -> Pattern {
    Pattern { class, fatal: true, text, title, place: Place::Rip, follows: &[] }
}

const fn lasting(class: Class, text: &'static str, title: &'static str, place: Place) -> Pattern {
    Pattern { class, fatal: false, text, title, place, follows: &[] }
}

impl Pattern {
    const fn within(mut self, follows: &'static [Class]) -> Self {
        self.follows = follows;
        self
    }

    const fn titled(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

const DYING: &[Class] = &[Oops, Bug, Kasan, Ubsan, BadPage, Slab];

pub(super) const EVERYTHING: &[Class] = &[
    Panic,
    Oops,
    Bug,
    Warning,
    HungTask,
    RcuStall,
    SoftLockup,
    Lockdep,
    Kasan,
    Ubsan,
    BadPage,
    Slab,
    Oom,
    AllocFailure,
    AddFailure,
    RemoveFailure,
    Sysfs,
    Leak,
    StackDump,
];

static PATTERNS: &[Pattern] = &[
    // kernel/panic.c:panic
    fatal(Panic, r"Kernel panic - not syncing: (.*)", "panic: $1").titled(Place::None),
    // arch/x86/mm/fault.c:show_fault_oops, arch/arm64/mm/fault.c:die_kernel_fault
    fatal(Oops, r"BUG: kernel NULL pointer dereference", "kernel NULL pointer dereference"),
    fatal(Oops, r"Unable to handle kernel NULL pointer dereference", "kernel NULL pointer dereference"),
    fatal(Oops, r"BUG: unable to handle page fault", "unable to handle page fault"),
    fatal(Oops, r"Unable to handle kernel .* at virtual address", "unable to handle page fault"),
    // arch/x86/kernel/traps.c:handle_stack_overflow, exc_double_fault
    fatal(Oops, r"BUG: (?:\S+ )?stack guard page was hit", "stack guard page was hit"),
    fatal(Oops, r"PANIC: double fault", "double fault").within(&[Oops]),
    // kernel/crash_core.c:crash_handle_hotplug_event, crash_check_hotplug_support: somebody has kexec's lock, and no one here uses kexec
    lasting(Warning, r"kexec_trylock\(\) failed", "kexec_trylock failed", Place::None),
    // lib/bug.c:report_bug
    fatal(Bug, r"kernel BUG at (\S+?):\d+!", "kernel BUG at $1").within(&[Bug]),
    fatal(Bug, r"kernel BUG at ([\w.]+)\+0x", "kernel BUG").within(&[Bug]),
    // arch/x86/kernel/dumpstack.c:__die_header, arch/arm64/kernel/traps.c:__die
    fatal(Oops, r"general protection fault\b.*: [0-9a-f]{4} \[#\d+\]", "general protection fault")
        .within(DYING),
    fatal(Oops, r"(?:Internal error: )?([A-Za-z][A-Za-z0-9 -]*?)(?:, .*)?: [0-9a-f]{4,16} \[#\d+\]", "$1")
        .within(DYING),
    // mm/kasan/report.c:kasan_non_canonical_hook; comes inside an oops
    fatal(Kasan, r"KASAN: (\S+) in range", "KASAN: $1").within(DYING),
    // kernel/watchdog.c, kernel/watchdog_hld.c
    lasting(SoftLockup, r"BUG: soft lockup - CPU", "soft lockup", Place::Rip),
    lasting(SoftLockup, r"(?:CPU\d+: )?Watchdog detected hard LOCKUP", "hard lockup", Place::Rip),
    // kernel/hung_task.c:check_hung_task; 7.3 also says in what it waits
    lasting(HungTask, r"INFO: task .+:\d+ blocked.* for more than \d+ seconds", "task hung", Place::Stack),
    // kernel/rcu/tree_stall.h, tree_exp.h, tasks.h
    lasting(
        RcuStall,
        r"INFO: rcu\S* (?:self-detected|detected (?:expedited )?)\s?stall",
        "RCU stall",
        Place::Rip,
    ),
    lasting(RcuStall, r"rcu\S* kthread starved for \d+ jiffies", "RCU kthread starved", Place::None)
        .within(&[RcuStall]),
    // kernel/locking/lockdep.c
    lasting(Lockdep, r"WARNING: (possible [a-z ]+?)(?: detected)?$", "lockdep: $1", Place::Lock),
    lasting(Lockdep, r"WARNING: (suspicious RCU usage)", "lockdep: $1", Place::None),
    lasting(
        Lockdep,
        r"WARNING: (inconsistent lock state|bad unlock balance|bad contention)",
        "lockdep: $1",
        Place::Lock,
    ),
    lasting(Lockdep, r"WARNING: ([\w-]+-safe -> [\w-]+-unsafe lock order)", "lockdep: $1", Place::Lock),
    lasting(
        Lockdep,
        r"WARNING: ((?:held lock freed|lock held when|Nested lock|chain_key)[a-zA-Z _]*)",
        "lockdep: $1",
        Place::Lock,
    ),
    lasting(Lockdep, r"WARNING: .* still has locks held", "lockdep: task still has locks held", Place::Lock),
    lasting(Lockdep, r"\[ BUG: (.+?)!? \]", "lockdep: $1", Place::Lock),
    lasting(Lockdep, r"INFO: trying to register non-static key", "lockdep: non-static key", Place::Stack),
    // mm/kasan/report.c, mm/kfence/report.c, kernel/kcsan/report.c, mm/kmsan/report.c
    lasting(Kasan, r"BUG: (K[A-Z]+SAN|KFENCE): (.+?) in ([A-Za-z_][\w.]*)", "$1: $2 in $3", Place::None),
    lasting(Kasan, r"BUG: (K[A-Z]+SAN|KFENCE): (.+)", "$1: $2", Place::None),
    // lib/ubsan.c:ubsan_prologue
    lasting(Ubsan, r"UBSAN: (\S+) in (\S+?):\d+", "UBSAN: $1 in $2", Place::None),
    // mm/page_alloc.c:bad_page, bad_range; mm/memory.c:print_bad_pte; kernel/fork.c:check_mm; mm/filemap.c
    lasting(BadPage, r"BUG: (Bad (?:page|rss-counter)(?: state| map| cache)?)", "$1", Place::None),
    lasting(BadPage, r"BUG: non-zero pgtables_bytes", "non-zero pgtables_bytes on freeing mm", Place::None),
    // mm/vmstat.c:vmstat_refresh; by less than this a counter may be wrong for what processors have not added up
    lasting(BadPage, r"vmstat_refresh: (\w+) -\d{4,}$", "$1 is below zero", Place::None),
    lasting(BadPage, r"page 0x[0-9a-f]+ outside node \d+ zone (\w+)", "page outside zone $1", Place::None),
    // mm/slub.c:slab_bug, slab_out_of_memory
    lasting(Slab, r"BUG (\S+) \(.*\): (.+)", "slab $1: $2", Place::None),
    lasting(AllocFailure, r"SLUB: Unable to allocate memory", "slab allocation failure", Place::Stack)
        .within(&[AllocFailure]),
    // lib/list_debug.c, in front of BUG() or WARN()
    lasting(Bug, r"(list_(?:add|del)) corruption", "$1 corruption", Place::Rip),
    // what else begins with BUG:
    lasting(Bug, r"BUG: (.+)", "BUG: $1", Place::None),
    // kernel/panic.c:__warn; first to 6.18, then 7.x
    lasting(
        Warning,
        r"WARNING: CPU: \d+ PID: \d+ at (?:\S+:\d+ )?([A-Za-z_][\w.]*)\+0x",
        "WARNING in $1",
        Place::None,
    )
    .within(&[Bug]),
    lasting(Warning, r"WARNING: (?:\S+:\d+ )?at ([A-Za-z_][\w.]*)\+0x", "WARNING in $1", Place::None)
        .within(&[Bug]),
    lasting(
        Warning,
        r"WARNING: (?:CPU: \d+ PID: \d+ at )?([\w./-]+\.[chS]):\d+",
        "WARNING in $1",
        Place::None,
    )
    .within(&[Bug]),
    // mm/oom_kill.c, mm/memcontrol.c
    lasting(Oom, r".{1,20} invoked oom-killer: ", "out of memory", Place::None).within(&[Oom]),
    lasting(Oom, r"oom-kill:constraint=", "out of memory", Place::None).within(&[Oom]),
    lasting(Oom, r"(?:Memory cgroup out|Out) of memory(?:: | and )", "out of memory", Place::None)
        .within(&[Oom]),
    // mm/page_alloc.c:warn_alloc, mm/sparse-vmemmap.c, mm/vmalloc.c
    lasting(
        AllocFailure,
        r".{1,20}: (page allocation|vmemmap alloc) failure: order:",
        "$1 failure",
        Place::Stack,
    )
    .within(&[Oom]),
    lasting(AllocFailure, r".{1,20}: (vmalloc)\b.*: (?:order:|mode:)", "vmalloc failure", Place::Stack),
    // drivers/acpi/acpi_memhotplug.c, mm/memory_hotplug.c, mm/sparse.c, drivers/base/memory.c
    lasting(AddFailure, r"acpi PNP0C80:\w+: add_memory failed", "add_memory failed", Place::None)
        .within(&[AddFailure]),
    lasting(
        AddFailure,
        r"acpi PNP0C80:\w+: acpi_memory_enable_device\(\) error",
        "memory device not enabled",
        Place::None,
    )
    .within(&[AddFailure]),
    lasting(
        AddFailure,
        r"Hotplug memory \[.*\] exceeds maximum addressable range",
        "hotplug memory exceeds the addressable range",
        Place::None,
    ),
    lasting(AddFailure, r"Block size \[.*\] unaligned hotplug range", "unaligned hotplug range", Place::None),
    lasting(
        AddFailure,
        r"Cannot online node \d+ due to NULL pgdat",
        "cannot online node due to NULL pgdat",
        Place::None,
    ),
    lasting(AddFailure, r"memory add fail, invalid altmap", "memory add fail, invalid altmap", Place::None),
    // mm/page_alloc.c:build_all_zonelists; mm/mempolicy.c:check_highest_zone leaves Movable out
    lasting(AddFailure, r"Policy zone: Movable", "the policy zone is Movable", Place::None),
    lasting(AddFailure, r"Unable to reserve (.*) region", "unable to reserve $1 region", Place::None),
    lasting(AddFailure, r"sparse_init_nid: node\[\d+\] (.*) failed", "$1 failed", Place::None),
    lasting(
        RemoveFailure,
        r"removing memory fails, because memory \[.*\] is onlined",
        "removing memory that is online",
        Place::None,
    ),
    lasting(RemoveFailure, r"Refuse to remove .*", "refuse to remove memory", Place::None),
    lasting(
        RemoveFailure,
        r"(?:\S+: )?Failed to (re-online|remove) memory",
        "failed to $1 memory",
        Place::None,
    ),
    lasting(
        RemoveFailure,
        r"\S+ PNP0C80:\w+: (Eject incomplete|Status check after eject failed)",
        "$1",
        Place::None,
    ),
    // fs/sysfs/dir.c:sysfs_warn_dup, lib/kobject.c:kobject_add_internal
    lasting(
        Sysfs,
        r"cannot create duplicate filename",
        "sysfs: cannot create duplicate filename",
        Place::None,
    ),
    lasting(Sysfs, r"kobject_add_internal failed for ", "kobject_add_internal failed", Place::None)
        .within(&[Sysfs]),
    lasting(Sysfs, r".*can't create link to memory", "can't create link to memory", Place::None),
    // mm/kmemleak.c
    lasting(Leak, r"\d+ new suspected memory leaks", "kmemleak: new suspected memory leaks", Place::None),
    // kernel/panic.c's notifier (arch/x86/kernel/setup.c:dump_kernel_offset): the message itself can be lost when
    // another processor was writing to the same port
    lasting(Panic, r"Kernel Offset: (?:disabled|0x)", "panic without its message", Place::None)
        .within(EVERYTHING),
    // lib/dump_stack.c:dump_stack_print_info, and what follows it
    lasting(StackDump, r"CPU: \d+ (?:UID: \d+ )?PID: \d+ Comm: ", "stack dump", Place::Stack)
        .within(EVERYTHING),
    lasting(StackDump, r"Call Trace:$", "stack dump", Place::Stack).within(EVERYTHING),
];

/// In front of a message: `watchdog: `, `NMI watchdog: `, `rcu: `, `Oops: `.
const PREFIX: &str = r"^(?:(?:NMI )?[A-Za-z_][\w-]*: ){0,2}";

/// Screens messages: ASCII only, which is many times faster than the patterns themselves.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    let texts = PATTERNS.iter().map(|p| format!("{PREFIX}(?:{})", p.text));
    RegexSetBuilder::new(texts)
        .unicode(false)
        .build()
        .expect("patterns in this module are constant and tested")
});

static EACH: LazyLock<Vec<Regex>> =
    LazyLock::new(|| PATTERNS.iter().map(|p| pattern(&format!("{PREFIX}(?:{})", p.text))).collect());

/// What `message` announces, if anything.
pub(super) fn head(message: &str) -> Option<Head> {
    let index = ANY.matches(message.as_bytes()).iter().next()?;
    let (found, captures) = (&PATTERNS[index], EACH[index].captures(message)?);
    let mut title = String::new();
    captures.expand(found.title, &mut title);
    Some(Head {
        class: found.class,
        fatal: found.fatal,
        title: tidy(&title),
        place: found.place,
        follows: found.follows,
    })
}

/// The part of a panic's text before what differs, and everything else without numbers.
fn tidy(title: &str) -> String {
    static TAIL: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"(?: exitcode=| in: |  Try passing| \[(?:verbose|in )).*$| at \S+:\d+$|[.!?: ]+$")
    });
    let cut = TAIL.replace(title, "");
    let cut = TAIL.replace(&cut, "");
    stable(&super::place::without_suffix(&cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_is_shadowed_by_its_own_prefix() {
        assert_eq!(EACH.len(), PATTERNS.len());
        assert_eq!(
            head("watchdog: BUG: soft lockup - CPU#1 stuck for 5s! [init:78]").unwrap().class,
            SoftLockup
        );
        assert_eq!(head("traps: PANIC: double fault, error_code: 0x0").unwrap().title, "double fault");
        assert_eq!(
            head("Oops: general protection fault, probably for 0xdead: 0000 [#1] SMP").unwrap().class,
            Oops
        );
        assert_eq!(head("divide error: 0000 [#1] SMP NOPTI").unwrap().title, "divide error");
        assert_eq!(
            head("Internal error: Oops - BUG: 00000000f2000800 [#1] SMP").unwrap().title,
            "Oops - BUG"
        );
    }
}
