//! Options that a case needs by what it does, without saying so. Pure.

use crate::case::schema::{Attribute, Case, Step};
use crate::policy::Subject;

/// The option that this kernel lacks, as a reason to skip; `cmdline` is all that is added to its command line. Where the
/// configuration is not known, the oracle's guess stands for it.
pub fn unmet(case: &Case, cmdline: &str, subject: &Subject) -> Option<String> {
    let lacks = |option: &str| Some(format!("needs CONFIG_{option}=y, the kernel has n"));
    // Told to leave memory alone, a kernel does what one without the option does.
    let told = cmdline.split_whitespace().any(|word| word == "acpi_no_memhotplug");
    let plugs = !case.machine.dimms.is_empty() || any(&case.steps, &plugs);
    if plugs && !told && !subject.acpi_hotplug_memory {
        return lacks("ACPI_HOTPLUG_MEMORY");
    }
    let leaves = |step: &Step| matches!(step, Step::Unplug(unplug) if unplug.refused.is_none() && !told);
    if !subject.hotremove && any(&case.steps, &|step| leaves(step) || offlines(step)) {
        return lacks("MEMORY_HOTREMOVE");
    }
    None
}

/// Is one of the steps such a one?
pub fn any(steps: &[Step], such: &dyn Fn(&Step) -> bool) -> bool {
    steps.iter().any(|step| match step {
        Step::Repeat(repeat) => any(&repeat.steps, such),
        Step::Each(each) => any(&each.steps, such),
        step => such(step),
    })
}

fn plugs(step: &Step) -> bool {
    matches!(step, Step::Plug(plug) if plug.refused.is_none())
}

fn offlines(step: &Step) -> bool {
    match step {
        Step::Set(set) => match set.attribute {
            Attribute::State => set.to == "offline",
            Attribute::Online => set.to == "0",
        },
        Step::Start(start) => start.to == "offline",
        Step::Write(write) => {
            let of_a_block = write.path.starts_with("${BLOCK:") && write.errno.is_none();
            of_a_block && (write.text == "offline" || write.path.ends_with("/online") && write.text == "0")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::OnlineType;
    use crate::version::Version;

    fn of(rest: &str, cmdline: &str, acpi_hotplug_memory: bool, hotremove: bool) -> Option<String> {
        let text = format!("summary: s\norigin: o\n{rest}\n");
        let case: Case = crate::case::yaml::from_str(std::path::Path::new("x.yaml"), &text).unwrap();
        let usual = Subject::usual(Version::series(6, 12), OnlineType::Offline);
        unmet(&case, cmdline, &Subject { acpi_hotplug_memory, hotremove, ..usual })
    }

    const PLUG: &str = "plug: { dimm: a, size: 128M }";

    #[test]
    fn a_dimm_needs_acpi() {
        let why = Some("needs CONFIG_ACPI_HOTPLUG_MEMORY=y, the kernel has n".to_string());
        for rest in [
            format!("steps: [{{ {PLUG} }}]"),
            format!("steps: [{{ repeat: {{ times: 2, steps: [{{ {PLUG} }}] }} }}]"),
            "machine: { dimms: [{ dimm: a, size: 128M }] }\nsteps: []".into(),
        ] {
            assert_eq!(of(&rest, "quiet", false, false), why, "{rest}");
            assert_eq!(of(&rest, "quiet", true, false), None, "{rest}");
            assert_eq!(of(&rest, "quiet acpi_no_memhotplug", false, false), None, "{rest}");
        }
        let refused = "steps: [{ plug: { dimm: a, size: 128M, refused: full } }]";
        assert_eq!((of("steps: []", "", false, false), of(refused, "", false, false)), (None, None));
    }

    #[test]
    fn what_leaves_needs_hot_removal() {
        let why = Some("needs CONFIG_MEMORY_HOTREMOVE=y, the kernel has n".to_string());
        for (step, needs) in [
            ("unplug: { dimm: a }", true),
            ("unplug: { dimm: a, refused: full }", false),
            ("set: { blocks: a, to: offline }", true),
            ("set: { blocks: a, to: online }", false),
            ("set: { blocks: a, to: \"0\", attribute: online }", true),
            ("start: { name: s, block: \"a[0]\", to: offline }", true),
            ("write: { path: \"${BLOCK:a[0]}/online\", text: \"0\" }", true),
            ("write: { path: \"${BLOCK:a[0]}/state\", text: offline, errno: EINVAL }", false),
            ("write: { path: /sys/devices/system/cpu/cpu1/online, text: \"0\" }", false),
        ] {
            let rest = format!("steps: [{{ {PLUG} }}, {{ {step} }}]");
            assert_eq!(of(&rest, "", true, false), why.clone().filter(|_| needs), "{step}");
            assert_eq!(of(&rest, "", true, true), None, "{step}");
        }
        let empty = format!("steps: [{{ {PLUG} }}, {{ unplug: {{ dimm: a }} }}]");
        assert_eq!(of(&empty, "acpi_no_memhotplug", true, false), None, "a DIMM without blocks leaves");
    }
}
