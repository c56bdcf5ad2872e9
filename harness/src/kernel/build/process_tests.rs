//! Real processes: their end, their children's end, and what is told meanwhile.

use super::*;
use crate::kernel::build::step::{Progress, Quiet, Runner, Stop};
use std::path::PathBuf;
use std::sync::Mutex;

fn step(script: &str, dir: &Path) -> Step {
    let argv = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    Step { argv, cwd: dir.into(), env: vec![("A".into(), Some("b".into()))], reads: vec![], writes: vec![] }
}

fn run_in(dir: &Path, script: &str, tools: &Tools<'_>) -> Result<ExitStatus, BuildError> {
    run("step", step(script, dir), &dir.join("log"), tools)
}

#[test]
fn output_status_and_environment() {
    let dir = tempfile::tempdir().unwrap();
    let status = run_in(dir.path(), "echo \"out $A\"; echo err >&2; exit 3", &Tools::default()).unwrap();
    assert_eq!(status.code(), Some(3));
    assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "out b\nerr\n");
}

#[test]
fn files_that_are_made_are_counted() {
    struct Told(Mutex<Vec<(usize, String)>>);
    impl Progress for Told {
        fn begin(&self, _: &str) {}
        fn made(&self, count: usize, newest: &str) {
            self.0.lock().unwrap().push((count, newest.to_string()));
        }
        fn end(&self) {}
    }
    let (dir, told) = (tempfile::tempdir().unwrap(), Told(Mutex::default()));
    let tools = Tools { progress: &told, ..Tools::default() };
    run_in(dir.path(), "printf '  CC      mm/a.o\\n  AR [M]  b.a\\nmake: x\\n  text\\n'", &tools).unwrap();
    assert_eq!(told.0.into_inner().unwrap(), [(2, "AR [M]".to_string())]);
}

/// A step whose grandchild writes its process id to `pid` and would sleep for an hour.
const LONG: &str = "sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 3600' & wait";

/// Waits until the grandchild has ended: killed is not gone yet, and whoever inherits it may take its time to reap it.
fn grandchild_ends(dir: &Path) {
    let pid = std::fs::read_to_string(dir.join("pid")).unwrap();
    let begun = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        let Ok(stat) = stat else { return };
        if stat.rsplit(") ").next().is_some_and(|s| s.starts_with(['Z', 'X'])) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "still there: {stat}");
        std::thread::yield_now();
    }
}

/// Stops the build as soon as the grandchild is there.
struct Stops<'a>(&'a Stop, PathBuf);

impl Runner for Stops<'_> {
    fn watch(&self, _: u32) -> Result<(), Trouble> {
        if self.1.exists() {
            self.0.request(2);
        }
        Ok(())
    }
}

#[test]
fn a_stop_ends_children_too() {
    let dir = tempfile::tempdir().unwrap();
    let stop = Stop::default();
    let runner = Stops(&stop, dir.path().join("pid"));
    let tools = Tools { runner: &runner, progress: &Quiet, stop: stop.clone(), ..Tools::default() };
    let error = run_in(dir.path(), LONG, &tools).unwrap_err();
    assert!(matches!(error, BuildError::Stopped(2)), "{error}");
    grandchild_ends(dir.path());
    assert!(matches!(run_in(dir.path(), "touch late", &tools), Err(BuildError::Stopped(2))));
    assert!(!dir.path().join("late").exists(), "nothing is started after a stop");
}

#[test]
fn a_watch_and_a_limit_end_it() {
    struct Refuses(PathBuf);
    impl Runner for Refuses {
        fn watch(&self, _: u32) -> Result<(), Trouble> {
            if self.0.exists() { Err(Trouble::Step("too large".into())) } else { Ok(()) }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let runner = Refuses(dir.path().join("pid"));
    let error = run_in(dir.path(), LONG, &Tools { runner: &runner, ..Tools::default() }).unwrap_err();
    assert!(error.to_string().starts_with("step was ended: too large; the whole log: "), "{error}");
    grandchild_ends(dir.path());
    let tools = Tools { limit: Duration::ZERO, ..Tools::default() };
    let error = run_in(dir.path(), LONG, &tools).unwrap_err();
    assert!(matches!(error, BuildError::Timeout { seconds: 0, .. }), "{error}");
}

#[test]
fn what_the_host_lacks_is_told_from_what_a_step_does() {
    struct Full;
    impl Runner for Full {
        fn ended(&self) -> Result<(), Trouble> {
            Err(Trouble::Host("the disk is full".into()))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error = run_in(dir.path(), "true", &Tools { runner: &Full, ..Tools::default() }).unwrap_err();
    assert!(matches!(error, BuildError::Host { .. }), "{error}");
    let text = "step was ended, which is the host's fault: the disk is full; the whole log: ";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[test]
fn a_runner_wraps_the_command() {
    struct Env;
    impl Runner for Env {
        fn wrap(&self, mut step: Step) -> Step {
            step.argv.splice(0..0, ["env".into(), "A=wrapped".into()]);
            step
        }
    }
    let dir = tempfile::tempdir().unwrap();
    run_in(dir.path(), "echo $A", &Tools { runner: &Env, ..Tools::default() }).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "wrapped\n");
}

#[test]
fn the_step_does_not_outlive_the_thread_that_runs_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let child = std::thread::spawn(move || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GUARD, "memhp-build", "/bin/sh", "-c", LONG]).current_dir(&path);
        let child = crate::sys::spawn_bound(&mut command, &[], Signal::TERM).unwrap();
        let begun = Instant::now();
        while !path.join("pid").exists() && begun.elapsed() < Duration::from_secs(60) {
            std::thread::yield_now();
        }
        child
    });
    let mut child = child.join().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    grandchild_ends(dir.path());
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    let mut tail = Tail::new(Path::new("/none"), 0);
    let (long, mut newest) = (vec![b'x'; CHUNK], None);
    for _ in 0..100 {
        tail.take(&long, &mut newest);
    }
    assert!(tail.rest.capacity() <= 2 * CHUNK, "{}", tail.rest.capacity());
    tail.take(b"\n  CC      mm/a.o\n  CC      m", &mut newest);
    assert_eq!((tail.count, newest.as_deref()), (1, Some("CC mm/a.o")));
    tail.take(b"m/b.o\n", &mut newest);
    assert_eq!((tail.count, newest.as_deref()), (2, Some("CC mm/b.o")));
}

#[test]
fn a_log_that_grows_without_end_ends_the_step() {
    let dir = tempfile::tempdir().unwrap();
    // As a file with a hole: no byte of it is written.
    let error = run_in(dir.path(), "truncate -s 257M log; exec sleep 63.125", &Tools::default()).unwrap_err();
    let text = "step was ended: it wrote more than 256 MiB to its log; the whole log: ";
    assert!(error.to_string().starts_with(text), "{error}");
}
