//! Builds in the cache, of a source that is no kernel but is made with the same words, by the real make.

use super::*;
use crate::kernel::build::{Fragment, Progress, Runner, Stop};
use std::process::Command;
use std::sync::Mutex;

/// Writes `count` a line each time it compiles a.c.
const MAKEFILE: &str = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\nEXTRAVERSION =\n\
tinyconfig:\n\t@echo CONFIG_PVH=y > $(O)/.config\n\
olddefconfig:\n\t@sed -i /CONFIG_NEW/d $(O)/.config; mkdir -p $(O)/include/config; echo 6.12.1 > $(O)/include/config/kernel.release\n\
vmlinux: $(O)/a.o\n\t@cat $(O)/a.o $(O)/.config > $(O)/vmlinux\n\
$(O)/a.o: a.c\n\t@grep -q WRONG $< && { echo \"a.c:1:1: error: wrong\" >&2; exit 1; } || cp $< $@; echo made >> $(O)/count\n";

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Self { dir };
        let kconfig = "config PVH\n\tbool \"p\"\nconfig A\n\tbool \"a\"\n";
        for (name, text) in
            [("MAINTAINERS", "m"), ("Kconfig", kconfig), ("Makefile", MAKEFILE), ("a.c", "int a;\n")]
        {
            site.write(name, text);
        }
        site
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("src")
    }

    /// Files of a build that came before are older than what is written now.
    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.source()).unwrap();
        let (path, begun) = (self.source().join(name), SystemTime::now());
        // File times are those of the last tick of the clock.
        while !fs::metadata(&path).and_then(|m| m.modified()).is_ok_and(|time| time > begun) {
            fs::write(&path, text).unwrap();
        }
    }

    fn build(&self, fragment: &str, tools: &Tools<'_>) -> Result<Kept, BuildError> {
        let notices = Mutex::new(Vec::new());
        let notify = |notice| notices.lock().unwrap().push(notice);
        let ctx = Context {
            cache: crate::kernel::Cache::at(self.dir.path().join("cache")),
            kernels_dir: None,
            archive: None,
            notify: &notify,
            tools: Tools::default(),
        };
        let fragments = vec![Fragment { name: "f".into(), text: fragment.into() }];
        let recipe = Recipe { base: Base::Tinyconfig, fragments };
        build(&ctx, &Request { source: Source::Directory(self.source()), recipe }, tools)
    }

    fn work_dirs(&self) -> usize {
        let entries = fs::read_dir(self.dir.path().join("cache/builds")).unwrap();
        entries.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".work-")).count()
    }
}

fn count(kept: &Kept) -> usize {
    fs::read_to_string(kept.built.dir.join("count")).unwrap().lines().count()
}

fn image(kept: &Kept) -> String {
    fs::read_to_string(&kept.built.image).unwrap()
}

#[test]
fn built_once_then_found_and_a_variant_costs_its_difference() {
    let site = Site::new();
    let tools = Tools::default();
    let first = site.build("CONFIG_A=y\n", &tools).unwrap();
    assert!(!first.found && first.key.starts_with("6.12.1-"), "{}", first.key);
    assert_eq!((first.built.release.as_str(), count(&first)), ("6.12.1", 1));
    let again = site.build("CONFIG_A=y\n", &tools).unwrap();
    assert!(again.found);
    assert_eq!(again.built, first.built);
    let variant = site.build("# CONFIG_A is not set\n", &tools).unwrap();
    assert_ne!(variant.key, first.key);
    assert_eq!(count(&variant), 1, "a.o came with the copy of the first build");
    assert!(image(&variant).contains("# CONFIG_A is not set") && image(&first).contains("CONFIG_A=y"));
    assert_eq!(site.work_dirs(), 0);
    let left: Vec<_> = fs::read_dir(site.source()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "the source is not written to: {left:?}");
}

#[test]
fn an_edit_is_built_and_an_old_file_put_back_is_not_missed() {
    let site = Site::new();
    let tools = Tools::default();
    let first = site.build("", &tools).unwrap();
    site.write("a.c", "int b;\n");
    let second = site.build("", &tools).unwrap();
    assert_eq!((count(&second), image(&second).contains("int b;")), (2, true));
    site.write("a.c", "int c;\n");
    let path = site.source().join("a.c");
    assert!(Command::new("touch").args(["-d", "2001-01-01"]).arg(&path).status().unwrap().success());
    let third = site.build("", &tools).unwrap();
    assert!(image(&third).contains("int c;"), "make goes by times and would have kept the object");
    assert_eq!(count(&third), 1, "built from nothing");
    assert_ne!(first.key, third.key);
}

#[test]
fn a_failed_build_names_the_message_and_leaves_no_entry() {
    let site = Site::new();
    site.write("a.c", "WRONG\n");
    let error = site.build("", &Tools::default()).unwrap_err().to_string();
    assert!(error.starts_with("make vmlinux failed: a.c:1:1: error: wrong\nthe whole log: "), "{error}");
    let log = error.rsplit("the whole log: ").next().unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("error: wrong"));
    site.write("a.c", "int a;\n");
    assert!(image(&site.build("", &Tools::default()).unwrap()).starts_with("int a;"));
}

#[test]
fn an_option_that_did_not_take_is_an_error_before_anything_is_compiled() {
    let site = Site::new();
    let error = site.build("CONFIG_NEW=y\n", &Tools::default()).unwrap_err();
    assert!(error.to_string().ends_with("there is no such option in 6.12.1"), "{error}");
    assert!(matches!(error, BuildError::NotTaken(all) if all.len() == 1 && all[0].option == "NEW"));
    assert_eq!(site.work_dirs(), 0);
}

#[test]
fn a_stop_leaves_no_entry_and_the_next_build_goes_on() {
    struct Stops<'a>(&'a Stop);
    impl Progress for Stops<'_> {
        fn begin(&self, what: &str) {
            if what == "make vmlinux" {
                self.0.request(2);
            }
        }
        fn made(&self, _: usize, _: &str) {}
        fn end(&self) {}
    }
    let site = Site::new();
    site.write(
        "Makefile",
        &MAKEFILE.replace(
            "vmlinux: $(O)/a.o\n",
            "vmlinux: $(O)/a.o\n\t@test -e $(O)/once || { touch $(O)/once; sleep 600; }\n",
        ),
    );
    let stop = Stop::default();
    let tools = Tools { progress: &Stops(&stop), stop: stop.clone(), ..Tools::default() };
    assert!(matches!(site.build("", &tools), Err(BuildError::Stopped(2))));
    assert_eq!(site.work_dirs(), 1);
    let kept = site.build("", &Tools::default()).unwrap();
    assert_eq!((count(&kept), site.work_dirs()), (1, 0));
}

#[test]
fn a_source_that_is_edited_meanwhile_is_no_entry() {
    struct Edits(PathBuf);
    impl Runner for Edits {
        fn wrap(&self, step: Step) -> Step {
            if step.argv.iter().any(|a| a == "vmlinux") {
                fs::write(&self.0, "int late;\n").unwrap();
            }
            step
        }
    }
    let site = Site::new();
    let runner = Edits(site.source().join("a.c"));
    let tools = Tools { runner: &runner, ..Tools::default() };
    let error = site.build("", &tools).unwrap_err();
    assert!(matches!(error, BuildError::SourceChanged(_)), "{error}");
    assert_eq!(site.work_dirs(), 0);
    assert!(image(&site.build("", &Tools::default()).unwrap()).starts_with("int late;"));
}

#[test]
fn sources_that_cannot_be_built() {
    let site = Site::new();
    site.write(".config", "");
    let error = site.build("", &Tools::default()).unwrap_err();
    assert!(matches!(error, BuildError::InTreeBuild { found: ".config", .. }) && error.is_usage(), "{error}");
    fs::remove_dir_all(site.source()).unwrap();
    assert!(matches!(site.build("", &Tools::default()), Err(BuildError::Missing(_))));
}
