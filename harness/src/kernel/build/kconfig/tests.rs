//! Kconfig files written for these tests, in the shapes that the kernel's own have.

use super::*;

/// A source with these files.
pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn depends(kconfig: &Kconfig, name: &str) -> Vec<String> {
    kconfig.definitions(name).iter().flat_map(|d| d.depends.iter().map(ToString::to_string)).collect()
}

#[test]
fn conditions_of_all_blocks_around() {
    let dir = tree(&[
        (
            "Kconfig",
            "mainmenu \"x\"\nsource \"arch/$(SRCARCH)/Kconfig\"\nsource \"mm/Kconfig\"\nsource \"gone/Kconfig\"\n",
        ),
        ("arch/x86/Kconfig", "config X86\n\tdef_bool y\n\n\tselect FOO\n"),
        (
            "mm/Kconfig",
            "menu \"Memory\"\n\tdepends on MMU\n\nmenuconfig HOT\n\tbool \"hot\"\n\tdepends on SPARSE && \\\n\t\t64BIT\n\thelp\n\
             \t  Text that says\n\n\t  config NOT_ONE\n\t  depends on nothing.\n\nif HOT\n\nchoice\n\tprompt \"type\"\n\tdepends on CHOICES\n\
             config TYPE_A\n\tbool \"a\"\n\nconfig TYPE_B\n\tbool \"b\" if EXPERT\nendchoice\n\nconfig REMOVE\n\ttristate \"r\"\n\
             endif # HOT\nendmenu\n\nconfig LAST\n\tbool\n\tdepends on A\n\tdepends on B || C\n",
        ),
    ]);
    let kconfig = Kconfig::load(dir.path()).unwrap();
    assert_eq!(depends(&kconfig, "HOT"), ["MMU", "SPARSE", "64BIT"]);
    assert_eq!(depends(&kconfig, "TYPE_A"), ["MMU", "HOT", "CHOICES"]);
    assert_eq!(depends(&kconfig, "TYPE_B"), ["MMU", "HOT", "CHOICES", "EXPERT"]);
    assert_eq!(depends(&kconfig, "REMOVE"), ["MMU", "HOT"]);
    assert_eq!(depends(&kconfig, "LAST"), ["A", "B || C"]);
    assert_eq!(kconfig.rivals("TYPE_A"), ["TYPE_B"]);
    assert!(kconfig.rivals("REMOVE").is_empty());
    let prompt = |name: &str| kconfig.definitions(name)[0].prompt;
    assert!(prompt("HOT") && prompt("REMOVE") && !prompt("LAST") && !prompt("X86"));
    assert!(kconfig.defines("X86") && !kconfig.defines("NOT_ONE") && !kconfig.defines("FOO"));
    assert_eq!(kconfig.definitions("HOT")[0].file, "mm/Kconfig");
}

#[test]
fn an_option_that_two_files_define() {
    let dir =
        tree(&[("Kconfig", "config A\n\tbool \"a\"\n\tdepends on X\nconfig A\n\tbool\n\tdefault y if Y\n")]);
    let kconfig = Kconfig::load(dir.path()).unwrap();
    assert_eq!(kconfig.definitions("A").len(), 2);
    assert!(Kconfig::load(&dir.path().join("none")).is_err());
}
