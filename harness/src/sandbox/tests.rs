//! Makefiles that do harm, in a real sandbox, each bounded by itself as well.

use super::*;
use std::fs;
use std::net::TcpListener;

const MIB: u64 = 1 << 20;

/// A source directory with this Makefile, a build directory, and what the host must keep from it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(makefile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["source", "build", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("home/secret"), "the secret\n").unwrap();
        let outside = dir.path().display().to_string();
        fs::write(dir.path().join("source/Makefile"), makefile.replace("@OUT@", &outside)).unwrap();
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs make as a build does; the result, and all it said.
    fn make(&self, limits: Limits, seconds: u64) -> (Result<bool, String>, String) {
        let log = self.at("log");
        let sandbox = Sandbox::find(limits, &log).expect("bubblewrap works here");
        let step = Step {
            argv: vec!["make".into(), "-C".into(), self.at("source").into(), "-j8".into()],
            cwd: self.at("build"),
            env: vec![
                ("O".into(), Some(self.at("build").into())),
                ("HOME".into(), Some(self.at("home").into())),
            ],
            reads: vec![self.at("source")],
            writes: vec![self.at("build")],
        };
        let tools = Tools { runner: &sandbox, limit: Duration::from_secs(seconds), ..Tools::default() };
        let ended = run_step("make", step, &log, &tools);
        (ended.map(|s| s.success()).map_err(|e| e.to_string()), fs::read_to_string(&log).unwrap())
    }
}

fn small() -> Limits {
    Limits {
        memory: 512 * MIB,
        threads: 64,
        file: 64 * MIB,
        disk: 32 * MIB,
        reserve: 0,
        ..Limits::of_build()
    }
}

#[test]
fn the_home_directory_and_the_rest_of_the_host_are_not_there() {
    let place = Place::new(
        "all:\n\tls -A $(HOME) @OUT@ /root /home /etc /var; cat @OUT@/home/secret; cat /etc/shadow; true\n",
    );
    let (ended, said) = place.make(small(), 60);
    assert_eq!(ended, Ok(true), "{said}");
    assert!(!said.contains("the secret"), "{said}");
    assert!(said.contains("home/secret: No such file"), "{said}");
    assert!(said.contains("/etc/shadow: No such file"), "{said}");
    assert!(!said.contains("passwd") && !said.contains("resolv.conf"), "{said}");
}

#[test]
fn only_the_build_directory_can_be_written_to() {
    let place = Place::new(
        "all:\n\techo ok > $(O)/made\n\t-echo x > Makefile.x\n\t-echo x > @OUT@/escaped\n\t-echo x > /usr/x\n\t-echo x > /x\n\
         \t-echo x > /dev/shm/x\n\techo ok > /tmp/x\n",
    );
    let (ended, said) = place.make(small(), 60);
    assert_eq!(ended, Ok(true), "{said}");
    assert_eq!(
        said.matches("Error 1 (ignored)").count() + said.matches("Error 2 (ignored)").count(),
        4,
        "{said}"
    );
    let left = |name: &str| {
        let mut names: Vec<_> =
            fs::read_dir(place.at(name)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(left(""), ["build", "home", "log", "source"]);
    assert_eq!((left("source"), left("build")), (vec!["Makefile".into()], vec!["made".into()]));
}

#[test]
fn there_is_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let makefile = format!(
        "SHELL := /bin/bash\nall:\n\t! (exec 3<>/dev/tcp/127.0.0.1/{port})\n\t! (exec 3<>/dev/tcp/192.0.2.1/80)\n\
         \ttest \"$$(tail -n +3 /proc/net/dev | grep -vc lo:)\" = 0\n"
    );
    let (ended, said) = Place::new(&makefile).make(small(), 60);
    assert_eq!(ended, Ok(true), "{said}");
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_host_s_processes_cannot_be_seen() {
    let me = std::process::id();
    let makefile = format!("all:\n\tls /proc\n\t! kill -0 {me}\n\t! kill -9 {me}\n");
    let (ended, said) = Place::new(&makefile).make(small(), 60);
    assert_eq!(ended, Ok(true), "{said}");
    assert!(!said.lines().any(|l| l == me.to_string()), "{said}");
}

#[test]
fn a_flood_of_processes_is_ended() {
    // 300 of them, each ending after 60 s by itself. Root is stopped by the watch, others by RLIMIT_NPROC already.
    let place = Place::new("all:\n\tfor i in $$(seq 300); do sleep 60.125 & done; wait\n");
    let (ended, said) = place.make(small(), 120);
    match ended {
        Err(why) => assert!(why.contains("more than 64 threads"), "{why}"),
        Ok(good) => assert!(!good && said.contains("fork"), "{said}"),
    }
    assert!(gone("60.125"));
}

#[test]
fn a_daemon_does_not_outlive_its_step() {
    let place = Place::new("all:\n\tsetsid sleep 61.125 & true\n");
    let (ended, said) = place.make(small(), 60);
    assert_eq!(ended, Ok(true), "{said}");
    assert!(gone("61.125"));
}

#[test]
fn what_never_ends_is_ended() {
    let place = Place::new("all:\n\tsleep 62.125\n");
    let (ended, _) = place.make(small(), 1);
    assert!(ended.unwrap_err().contains("did not end within 1 s"));
    assert!(gone("62.125"));
}

#[test]
fn the_disk_and_the_memory_are_not_filled() {
    let disk = Place::new(
        "all:\n\tfor i in $$(seq 40); do dd if=/dev/zero of=$(O)/f$$i bs=1M count=4 status=none; done\n",
    );
    let (ended, _) = disk.make(small(), 60);
    assert!(ended.unwrap_err().contains("more than 32 MiB written to"));
    let file = Place::new("all:\n\tdd if=/dev/zero of=$(O)/f bs=1M count=80 status=none\n");
    let (ended, said) = file.make(Limits { disk: 1024 * MIB, ..small() }, 60);
    assert_eq!(ended, Ok(false), "{said}");
    assert_eq!(fs::metadata(file.at("build/f")).unwrap().len(), 64 * MIB);
    let tmp = Place::new("all:\n\tdd if=/dev/zero of=/tmp/f bs=1M count=40 status=none\n");
    let (ended, said) = tmp.make(Limits { memory: 16 * MIB, ..small() }, 60);
    // Whichever comes first: /tmp is full, or the watch has seen more memory than that.
    assert!(
        ended == Ok(false) && said.contains("No space left") || ended.is_err_and(|e| e.contains("of memory")),
        "{said}"
    );
    let eater = Place::new("all:\n\thead -c 80M /dev/zero | tail | sleep 20\n");
    let (ended, _) = eater.make(Limits { memory: 60 * MIB, ..small() }, 60);
    assert!(ended.unwrap_err().contains("more than 60 MiB of memory"));
    let address = Place::new("all:\n\thead -c 80M /dev/zero | tail > /dev/null\n");
    let (ended, said) = address.make(Limits { address_space: 60 * MIB, ..small() }, 60);
    assert!(ended.is_ok() && said.contains("memory exhausted"), "{said}");
}

#[test]
fn what_it_left_is_looked_at_before_it_is_touched() {
    let place = Place::new("all:\n\tln -s @OUT@/home/secret $(O)/.config\n");
    let (ended, _) = place.make(small(), 60);
    assert!(ended.unwrap_err().contains("which leads out of its directories"));
    let place = Place::new("all:\n\tmkfifo $(O)/.config\n");
    let (ended, _) = place.make(small(), 60);
    assert!(ended.unwrap_err().contains("neither a file nor a directory"));
}

/// Whether no process with this word among its arguments is left, soon: they are killed when the step is ended.
fn gone(word: &str) -> bool {
    let begun = std::time::Instant::now();
    while alive(word) > 0 {
        if begun.elapsed() > Duration::from_secs(20) {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Processes with this word among their arguments.
fn alive(word: &str) -> usize {
    let has = |entry: std::io::Result<fs::DirEntry>| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        line.split(|b| *b == 0).any(|w| w == word.as_bytes()).then_some(())
    };
    fs::read_dir("/proc").unwrap().filter_map(has).count()
}
