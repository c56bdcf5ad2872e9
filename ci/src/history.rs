//! `cargo ci history`: does `memhp bisect` find what it is asked for?
//!
//! A history of 16 commits on Debian's 6.12 source, made without touching the source, in a repository beside it. Every commit
//! changes the kernel; one of them, another one for every seed, breaks the onlining of added blocks: always, or for one block
//! in eight. Both are searched for once for each seed, and the right commit must be named with the confidence that was asked
//! for.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// Options of `cargo ci history`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// search with the seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u32,
    /// only the defect that shows always, or only the one that shows in one run of eight
    #[arg(long)]
    only: Option<Kind>,
}

/// How often the defect shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// in every run
    Always,
    /// in one run of eight
    Sometimes,
}

const COMMITS: u32 = 16;
const DATE: &str = "@1700000000 +0000";
const CASE: &str = "harness/tests/data/history/one-block.yaml";
/// Every commit but the bad one changes this one by a line.
const HARMLESS: &str = "drivers/base/memory.c";
const BROKEN: &str = "mm/memory_hotplug.c";
const BEFORE: &str =
    "\tmem->online_type = mhp_get_default_online_type();\n\treturn device_online(&mem->dev);\n";

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
        }
    }

    /// mm/memory_hotplug.c:online_memory_block with the defect.
    fn broken(self) -> String {
        let condition = match self {
            Self::Always => "mem",
            Self::Sometimes => "!(get_random_u32() & 7)",
        };
        format!("\tif ({condition})\n\t\treturn 0;\n{BEFORE}")
    }
}

/// Makes the histories, searches them.
pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    crate::setup::run(sh, crate::setup::TEST_TOOLS)?;
    crate::setup::run(sh, crate::setup::KERNEL_BUILD_TOOLS)?;
    let source = crate::mutants::pristine_source(sh)?;
    cmd!(sh, "cargo build --release --package memhp").run()?;
    let history = History::of(sh, &source)?;
    let mut wrong = Vec::new();
    for kind in [Kind::Always, Kind::Sometimes] {
        if args.only.is_some_and(|only| only != kind) {
            continue;
        }
        for seed in 1..=args.seeds {
            let name = format!("{}, seed {seed}", kind.name());
            match history.search(kind, seed).with_context(|| name.clone())? {
                Ok(answer) => println!("{name}: {answer}"),
                Err(answer) => {
                    println!("{name}: WRONG: {answer}");
                    wrong.push(name);
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "wrong answers: {wrong:#?}");
    Ok(())
}

/// The repository, beside the source: its objects, and no files.
struct History<'a> {
    sh: &'a Shell,
    dir: PathBuf,
    root: PathBuf,
    base: String,
}

/// A commit after others.
struct Commit {
    id: String,
    subject: String,
}

impl<'a> History<'a> {
    /// The source as the first commit, made once.
    fn of(sh: &'a Shell, source: &Path) -> Result<Self> {
        let dir = source.with_file_name("history.git");
        let mut history = Self { sh, dir, root: sh.current_dir(), base: String::new() };
        if !history.dir.join("whole").exists() {
            let dir = &history.dir;
            sh.remove_path(dir)?;
            cmd!(sh, "git init --quiet --bare {dir}").run()?;
            cmd!(sh, "git --git-dir={dir} --work-tree={source} add --all --force").run()?;
            let tree = history.git(&["write-tree"], "")?;
            let base = history.commit(&tree, None, "source")?;
            sh.write_file(history.dir.join("whole"), base)?;
        }
        history.base = sh.read_file(history.dir.join("whole"))?;
        Ok(history)
    }

    fn git(&self, words: &[&str], input: &str) -> Result<String> {
        let dir = &self.dir;
        let cmd = cmd!(self.sh, "git --git-dir={dir} {words...}").stdin(input);
        // The same history has the same names whenever it is made.
        let dated = cmd.env("GIT_AUTHOR_DATE", DATE).env("GIT_COMMITTER_DATE", DATE);
        Ok(dated.quiet().read()?)
    }

    fn commit(&self, tree: &str, parent: Option<&str>, subject: &str) -> Result<String> {
        let who = ["-c", "user.name=History", "-c", "user.email=history@example.org"];
        let parent = parent.map_or(vec![], |id| vec!["-p", id]);
        self.git(&[&who[..], &["commit-tree", tree, "-m", subject], &parent].concat(), "")
    }

    /// A commit that changes one file of its parent.
    fn change(
        &self,
        parent: &str,
        subject: &str,
        path: &str,
        edit: impl Fn(&str) -> Result<String>,
    ) -> Result<Commit> {
        let whole = |text: String| text + "\n";
        let text = edit(&whole(self.git(&["show", &format!("{parent}:{path}")], "")?))?;
        let blob = self.git(&["hash-object", "-w", "--stdin"], &text)?;
        self.git(&["read-tree", parent], "")?;
        self.git(&["update-index", "--cacheinfo", &format!("100644,{blob},{path}")], "")?;
        let tree = self.git(&["write-tree"], "")?;
        let id = self.commit(&tree, Some(parent), subject)?;
        Ok(Commit { id, subject: subject.into() })
    }

    /// The commits after the source, in order; the one at `bad` brings the defect in.
    fn commits(&self, kind: Kind, bad: u32) -> Result<Vec<Commit>> {
        let mut commits: Vec<Commit> = Vec::new();
        for number in 1..=COMMITS {
            let parent = commits.last().map_or(self.base.clone(), |c| c.id.clone());
            let subject = format!("{}: change {number}", if number == bad { BROKEN } else { HARMLESS });
            let commit = if number == bad {
                self.change(&parent, &subject, BROKEN, |text| {
                    ensure!(text.matches(BEFORE).count() == 1, "{BROKEN} is not as expected");
                    Ok(text.replacen(BEFORE, &kind.broken(), 1))
                })?
            } else {
                let line = format!("unsigned int memory_history_{number} = {number};\n");
                self.change(&parent, &subject, HARMLESS, |text| Ok(format!("{text}{line}")))?
            };
            commits.push(commit);
        }
        Ok(commits)
    }

    /// The answer and what it cost, or what is wrong with it.
    fn search(&self, kind: Kind, seed: u32) -> Result<Result<String, String>> {
        let bad = seed * 7 % COMMITS + 1;
        let commits = self.commits(kind, bad)?;
        let wanted = commits.get(bad as usize - 1).context("no such commit")?;
        let last = &commits.last().context("no commits")?.id;
        let (sh, dir, base) = (self.sh, &self.dir, &self.base);
        let memhp = self.root.join("target/release/memhp");
        let out = sh.create_temp_dir()?;
        let out = out.path();
        let seed = seed.to_string();
        let search = cmd!(
            sh,
            "{memhp} bisect {CASE} --tree {dir} --good {base} --bad {last} --seed {seed} --out {out}"
        );
        let output = search.quiet().ignore_status().output()?;
        let said = String::from_utf8(output.stdout)?;
        if !output.status.success() {
            return Ok(Err(format!("{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr))));
        }
        let first = format!("{} is the first bad commit\n    {}\n", wanted.id, wanted.subject);
        let cost = said.strip_prefix(&first).filter(|rest| is_sure(rest));
        let cost = cost.map(|rest| format!("commit {bad} of {COMMITS}\n{rest}"));
        Ok(cost.ok_or(format!("commit {bad}, {}, and not, or not as sure as wanted:\n{said}", wanted.id)))
    }
}

/// Is it as sure as was wanted? `confidence 99.77 %, wanted 99.00 %`
fn is_sure(answer: &str) -> bool {
    let of = |line: &str| {
        let (is, wanted) = line.strip_prefix("confidence ")?.strip_suffix(" %")?.split_once(" %, wanted ")?;
        Some(is.parse::<f64>().ok()? >= wanted.parse().ok()?)
    };
    answer.lines().find_map(of).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::is_sure;

    #[test]
    fn an_answer_is_as_sure_as_was_wanted() {
        assert!(is_sure("confidence 99.77 %, wanted 99.00 %\n6 revisions judged\n"));
        assert!(is_sure("confidence 99.00 %, wanted 99.00 %\n"));
        assert!(!is_sure("confidence 98.99 %, wanted 99.00 %\n"));
        assert!(!is_sure("6 revisions judged\n"));
    }
}
