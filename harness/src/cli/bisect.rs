//! `memhp bisect`: which commit, or which packaged kernel, brought a change in.

use super::args::{HostArgs, RunArgs, Sources};
use super::failure::Failure;
use crate::bisect::guests::{Guests, short};
use crate::bisect::journal::Kept;
use crate::bisect::search::{self, Role, Step, Stop, Wish, counts};
use crate::bisect::sprt::Mark;
use crate::bisect::text::Report;
use crate::bisect::workspace::Workspace;
use crate::bisect::worktree::{Commit, commit};
use crate::case::{self, Chosen, Pattern};
use crate::kernel::build::{Base, Fragment, Recipe};
use crate::kernel::{self, Cache, Kernel};
use crate::policy::Subject;
use crate::run::host::Host;
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `memhp bisect`.
#[derive(Debug, Clone, Args)]
pub struct BisectArgs {
    /// cases as for run: every one of them once is one run of a revision
    #[arg(value_name = "PATTERN", required = true)]
    pub patterns: Vec<String>,
    /// git repository of the kernel; its work tree, index and branches are left alone
    #[arg(long, value_name = "DIR", requires_all = ["good", "bad"], required_unless_present = "kernels")]
    pub tree: Option<PathBuf>,
    /// a revision without the regression
    #[arg(long, value_name = "REV", requires = "tree")]
    pub good: Option<String>,
    /// a revision with it
    #[arg(long, value_name = "REV", requires = "tree")]
    pub bad: Option<String>,
    /// walk the archive's kernels between two definitions instead (debian-6.1..debian-6.12) and compare what is observed
    #[arg(long, value_name = "A..B", conflicts_with = "tree")]
    pub kernels: Option<String>,
    /// how sure the answer is to be
    #[arg(long, value_name = "P", default_value_t = 0.99)]
    pub confidence: f64,
    /// the rarest failure of the bad revision that must be found, as a part of its runs
    #[arg(long, value_name = "R", default_value_t = 0.1)]
    pub rate: f64,
    /// configuration to build with [default: tinyconfig with the fragment hotplug-x86_64]
    #[arg(long, value_name = "FILE", requires = "tree")]
    pub config: Option<PathBuf>,
    /// options on top of it: a shipped fragment's name or a file; repeatable
    #[arg(long = "fragment", value_name = "F", requires = "tree")]
    pub fragments: Vec<String>,
    /// draw runs over N booted guests
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub templates: u32,
    /// where the log, the mail and folders of failures go [default: ./memhp-out/TIMESTAMP]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// guests at once
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// further kernel parameters for every guest
    #[arg(long, value_name = "PARAMS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// case files from this directory instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub cases: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub host: HostArgs,
}

/// Bisects; the exit status: 0 with an answer, 1 if there is none, 130 and 143 after a signal.
pub fn bisect(args: &BisectArgs) -> Result<i32, Failure> {
    let probability = |name: &str, p: f64, least: f64| {
        let good = p > least && p < 1.0;
        if good {
            Ok(())
        } else {
            Err(Failure::usage(format!("--{name} {p}: want a number above {least} and below 1")))
        }
    };
    probability("confidence", args.confidence, 0.5)?;
    probability("rate", args.rate, search::NOISE * 2.0)?;
    let (tree, good, bad) = match (&args.kernels, &args.tree, &args.good, &args.bad) {
        (Some(range), ..) => return super::bisect_kernels::kernels(args, range),
        (None, Some(tree), Some(good), Some(bad)) => (tree, good, bad),
        _ => return Err(Failure::usage("want --tree DIR --good REV --bad REV, or --kernels A..B")),
    };
    let out = args.out.clone().map_or_else(super::run::default_out, Ok);
    let out = out.map_err(|e| Failure::usage(format!("memhp-out: {e}; name a directory with --out")))?;
    std::fs::create_dir_all(&out).map_err(|e| Failure::usage(format!("{}: {e}", out.display())))?;
    history(args, tree, good, bad, &out)
}

/// What the runs of `memhp run` are made with.
pub(super) fn run_args(args: &BisectArgs) -> RunArgs {
    RunArgs {
        patterns: args.patterns.clone(),
        sources: Sources {
            kernels: Vec::new(),
            append: args.append.clone(),
            cases: args.cases.clone(),
            kernels_dir: None,
        },
        jobs: args.jobs,
        out: None,
        format: super::args::Format::Human,
        exit: super::args::Exit::Bisect,
        shard: None,
        repeat: 1,
        seed: args.seed,
        require: false,
        fail_fast: false,
        dry_run: false,
        setup: false,
        no_known_issues: true,
        boot: super::args::Boot::Auto,
        verify_forks: 0,
        timelines: false,
        templates: args.templates,
        host: args.host.clone(),
    }
}

fn recipe(args: &BisectArgs) -> Result<Recipe, Failure> {
    let usual = args.config.is_none();
    let names =
        usual.then_some("hotplug-x86_64").into_iter().chain(args.fragments.iter().map(String::as_str));
    let fragments =
        names.map(|name| Fragment::load(name, None)).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let base = match &args.config {
        None => Base::Tinyconfig,
        Some(file) => {
            Base::File(file.canonicalize().map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?)
        }
    };
    Ok(Recipe { base, fragments })
}

/// The ends of a history in git.
struct Ends {
    tree: PathBuf,
    good: Commit,
    bad: Commit,
}

impl Ends {
    fn find(tree: &Path, good: &str, bad: &str) -> Result<Self, Failure> {
        let tree = tree.canonicalize().map_err(|e| Failure::usage(format!("{}: {e}", tree.display())))?;
        let find = |option: &str, name: &str| {
            commit(&tree, name).map_err(|e| Failure::usage(format!("--{option} {name}: {e}")))
        };
        let (good, bad) = (find("good", good)?, find("bad", bad)?);
        if good.sha == bad.sha {
            return Err(Failure::usage(format!("--good and --bad are both {}", good.sha)));
        }
        Ok(Self { tree, good, bad })
    }
}

fn history(args: &BisectArgs, tree: &Path, good: &str, bad: &str, out: &Path) -> Result<i32, Failure> {
    let ends = Ends::find(tree, good, bad)?;
    let recipe = recipe(args)?;
    let run_args = run_args(args);
    let corpus = case::corpus(args.cases.as_deref()).map_err(Failure::usage)?;
    let patterns: Vec<Pattern> = args.patterns.iter().map(Pattern::new).collect();
    // A pattern that matches nothing is a mistake to be told before an hour of building.
    let chosen = case::choose(&corpus, &patterns, &["local"]).map_err(Failure::usage)?;
    let cache = Cache::of_user().map_err(Failure::kernel)?;
    let mut host = super::run::bare_host(&run_args)?;
    host.spread = true;
    let base = cache.dir("bisect");
    let workspace =
        Workspace::open(&base, &ends.tree, recipe.clone(), &ends.bad.sha).map_err(Failure::host)?;
    let mut walk =
        workspace.worktree.start(&ends.good.sha, &ends.bad.sha).map_err(|e| Failure::usage(e.to_string()))?;

    // The accelerator is proven with the first kernel that there is.
    progress(&format!("{}: building the bad end ({})", short(&ends.bad.sha), ends.bad.subject));
    let mut built = None;
    super::signals::with_signals(&host, || {
        built = Some(workspace.build(&ends.bad.sha, &host));
        Ok(())
    })?;
    let dir = match built {
        Some(Ok(Ok(dir))) => dir,
        Some(Ok(Err(why))) => {
            say!("memhp: the bad revision {} cannot be built: {why}", ends.bad.sha);
            return Ok(1);
        }
        Some(Err(stop)) => return stopped(&stop),
        None => return Err(Failure::host("nothing was built")),
    };
    let (first, _) = kernel_of(&dir, None)?;
    super::prove::prove(&run_args, &mut host, &[first], &mut Vec::new())?;

    let mut subjects = BTreeMap::new();
    let mut told =
        |step: &Step| tell(step, &commit(&ends.tree, &step.revision).map_or(String::new(), |c| c.subject));
    let with = format!("{} {:?} {:?}", env!("CARGO_PKG_VERSION"), host.accel, host.qemu);
    let key = journal_key(args, &ends, &recipe, &chosen, &with)?;
    let mut journal = Kept::open(&base.join(format!("{key}.jsonl")), &mut told).map_err(Failure::host)?;
    if let (runs @ 1.., revisions) = journal.found() {
        progress(&format!(
            "going on: {runs} runs of {revisions} revisions are kept from a search that was ended"
        ));
    }
    let wish = Wish { confidence: args.confidence, least_rate: args.rate };
    let mut failed = |revision: &String, planned: &_, end: &_, remains: &_| {
        super::folder::write(&out.join(short(revision)), planned, &host, end, remains)
            .map_err(|e| e.to_string())
    };
    let kernel = |dir: &Path| kernel_of(dir, Some(&host)).map_err(|e| e.to_string());
    let mut guests = Guests {
        host: &host,
        workspace: &workspace,
        corpus: &corpus,
        patterns: &patterns,
        append: &args.append,
        jobs: super::run::jobs(args.jobs),
        seed: args.seed,
        cache: cache.root().to_path_buf(),
        kernel: &kernel,
        failed: &mut failed,
        progress: &progress,
        only: Vec::new(),
        ready: None,
    };
    let mut result = None;
    super::signals::with_signals(&host, || {
        let ends = (&ends.good.sha, &ends.bad.sha);
        result = Some(search::search(ends, wish, &mut walk, &mut guests, &mut journal));
        Ok(())
    })?;
    let answer = match result {
        Some(Ok(answer)) => answer,
        Some(Err(stop)) => {
            if matches!(stop, Stop::Undecided(_)) {
                journal.done();
            }
            return stopped(&stop);
        }
        None => return Err(Failure::host("nothing was searched")),
    };
    journal.done();
    for revision in answer.steps.iter().map(|s| &s.revision).chain(&answer.first_bad) {
        subjects.insert(revision.clone(), commit(&ends.tree, revision).map_or(String::new(), |c| c.subject));
    }
    let command = std::env::args().map(|word| crate::report::quote(&word));
    let report = Report {
        command: command.collect::<Vec<_>>().join(" "),
        cases: args.patterns.join(" "),
        wish,
        answer: &answer,
        subjects,
    };
    for (name, text) in [("bisect.log", report.log()), ("bisect.mail", report.mail())] {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|e| Failure::host(format!("write {}: {e}", path.display())))?;
    }
    super::print(&report.answer());
    progress(&format!("log and mail are in {}", out.display()));
    Ok(if answer.first_bad.len() == 1 { 0 } else { 1 })
}

/// What a build directory holds, and how the oracle sees it.
fn kernel_of(dir: &Path, host: Option<&Host>) -> Result<(Arc<Kernel>, Subject), Failure> {
    let notify = |notice: kernel::Notice| tracing::info!("{notice}");
    let context = kernel::Context::new(&notify).map_err(Failure::kernel)?;
    let kernels = kernel::resolve(&[dir.display().to_string()], &context).map_err(Failure::kernel)?;
    let kernels: Vec<Arc<Kernel>> = kernels.into_iter().map(Arc::new).collect();
    // A kernel that does not boot shows in its runs.
    let met = super::subjects::of(&kernels, host)?.into_iter().next();
    met.map(|met| (met.kernel, met.subject))
        .ok_or_else(|| Failure::host(format!("{}: no kernel", dir.display())))
}

/// A search goes on by itself where one with the same question was ended. Files count by what is in them: the same
/// command line is another question when a case or the configuration was edited. `with`: what runs the guests.
fn journal_key(
    args: &BisectArgs,
    ends: &Ends,
    recipe: &Recipe,
    cases: &[Chosen],
    with: &str,
) -> Result<String, Failure> {
    let config = match &recipe.base {
        Base::File(file) => {
            let bytes = std::fs::read(file);
            kernel::sha256(&bytes.map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?)
        }
        _ => String::new(),
    };
    let question = (
        (&ends.tree, &ends.good.sha, &ends.bad.sha, &args.patterns, &args.append, cases),
        (args.confidence.to_bits(), args.rate.to_bits(), args.templates, args.seed, recipe, config),
        (&args.host.memory, args.host.smp, &args.host.qemu_args, args.host.timeout_scale.to_bits(), with),
    );
    Ok(kernel::sha256(format!("{question:?}").as_bytes())[..16].to_string())
}

fn stopped(stop: &Stop) -> Result<i32, Failure> {
    match stop {
        Stop::Signal(signal) => {
            say!("memhp: ended; the same command goes on from here");
            Ok(128 + signal)
        }
        Stop::Undecided(why) => {
            say!("memhp: {why}");
            Ok(1)
        }
        Stop::Host(why) => Err(Failure::host(why)),
    }
}

fn tell(step: &Step, subject: &str) {
    let role = match step.role {
        Role::BadEnd => " (the bad end)",
        Role::GoodEnd => " (the good end)",
        Role::Between => "",
    };
    let how = match step.mark {
        Mark::Skip => step.why.clone(),
        _ => format!("{}, wrong with probability {:.1e}", counts(step.runs.sum()), step.risk),
    };
    progress(&format!("{} is {}{role}: {how} ({subject})", short(&step.revision), step.mark.word()));
    step.titles.iter().for_each(|title| progress(&format!("    {title}")));
    step.others.iter().for_each(|title| progress(&format!("    not what the bad end fails by: {title}")));
}

pub(super) fn progress(line: &str) {
    say!("memhp: {line}");
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Verb};
    use super::*;
    use clap::Parser;

    #[test]
    fn another_question_has_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let (config, case) = (dir.path().join("config"), dir.path().join("own/mine.yaml"));
        std::fs::create_dir(dir.path().join("own")).unwrap();
        let key = |more: &[&str], with: &str| {
            let words = ["memhp", "bisect", "--tree", ".", "--good", "a", "--bad", "b", "--config"];
            let files = [config.to_str().unwrap(), case.to_str().unwrap()];
            let Verb::Bisect(args) = Cli::try_parse_from([&words, &files[..], more].concat()).unwrap().verb
            else {
                panic!("no bisect")
            };
            let commit = |sha: &str| Commit { sha: sha.into(), subject: String::new() };
            let ends = Ends { tree: ".".into(), good: commit("a"), bad: commit("b") };
            let chosen = case::choose(&[], &[Pattern::new(files[1])], &["local"]).unwrap();
            journal_key(&args, &ends, &recipe(&args).unwrap(), &chosen, with)
                .unwrap_or_else(|f| panic!("{}", f.message))
        };
        std::fs::write(&config, "CONFIG_A=y\n").unwrap();
        let text = |to: &str| {
            format!("summary: s\norigin: mm/x.c:f - t\nsteps:\n  - set: {{ blocks: memory0, to: {to} }}\n")
        };
        std::fs::write(&case, text("offline")).unwrap();
        let first = key(&[], "0.1 tcg");
        assert_eq!(first, key(&[], "0.1 tcg"));
        let mut others = vec![key(&[], "0.1 kvm"), key(&["--timeout-scale", "2"], "0.1 tcg")];
        std::fs::write(&case, text("online")).unwrap();
        others.push(key(&[], "0.1 tcg"));
        std::fs::write(&case, text("offline")).unwrap();
        std::fs::write(&config, "CONFIG_A=m\n").unwrap();
        others.push(key(&[], "0.1 tcg"));
        others.push(first);
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 5);
    }
}
