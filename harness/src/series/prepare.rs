//! From PATCHES and a tree to kernels that can be run: everything up to the first guest.

use super::apply::{self, NotApplied};
use super::build;
use super::error::{SeriesError, at};
use super::header::Header;
use super::input;
use super::mail::{Mail, plain};
use super::order::Ordered;
use super::shell::Shell;
use super::split::{self, Bad};
use super::tree::Base;
use super::workspace::Workspace;
use crate::kernel::build::{BuildError, Built, Recipe, Tools};
use crate::sandbox::{Limits, Sandbox};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What is asked for.
pub struct Request<'a> {
    /// an mbox, a directory, or `-`
    pub patches: &'a str,
    /// the user's tree
    pub tree: &'a Path,
    /// its revision, where one was named
    pub base: Option<&'a str>,
    /// every patch by itself
    pub each: bool,
    /// no sandbox
    pub trust: bool,
    /// how the base is configured
    pub recipe: &'a Recipe,
    /// how it is built
    pub tools: Tools<'a>,
    /// a directory for worktrees and builds, which are gone afterwards
    pub cache: &'a Path,
    /// a directory for what stays: kernels, logs
    pub out: &'a Path,
    /// told what is being done
    pub say: &'a dyn Fn(&str),
}

/// One patch, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// without its brackets
    pub subject: String,
    /// `Name <address>`
    pub author: String,
}

/// What is known of the series and of its base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// subject of the cover letter, else of the first patch
    pub title: String,
    /// 2 for v2
    pub version: u32,
    /// in their order
    pub patches: Vec<Patch>,
    /// header of the cover letter, else of the first patch: for the answer
    #[serde(skip)]
    pub header: Header,
    /// `Message-ID` of that
    pub message_id: Option<String>,
    /// mails that were left out
    pub left_out: Vec<String>,
    /// where the base is from
    pub base: Option<Base>,
    /// patches were built without a sandbox
    pub trusted: bool,
    /// what the series does to the configuration
    pub configuration: Vec<String>,
}

/// A kernel that was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// `base`, `patch 2/3`, `series`
    pub name: String,
    /// directory with its image and configuration
    pub dir: PathBuf,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// a patch does what a patch must not; nothing was run
    Refused(Bad),
    /// a patch does not apply
    NotApplied(Bad),
    /// a patch does not build
    NotBuilt(Bad),
    /// base first, the whole series last
    Kernels(Vec<Kernel>),
}

/// Does it.
pub fn prepare(request: &Request<'_>) -> Result<(Facts, Prepared), SeriesError> {
    let tree = fs::canonicalize(request.tree)
        .map_err(|e| SeriesError::Tree { path: request.tree.into(), why: e.to_string() })?;
    let workspace = Workspace::open(request.cache, &tree)?;
    let scratch = workspace.join("memhp-scratch");
    fs::create_dir(&scratch).map_err(at("making", &scratch))?;
    let sandbox = match request.trust {
        true => Sandbox::trusting(Limits::of_patching()),
        false => Sandbox::find(Limits::of_patching(), &scratch.join("bwrap"))?,
    }
    .for_git();
    let shell = Shell {
        runner: &sandbox,
        stop: request.tools.stop.clone(),
        scratch: scratch.clone(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let files = input::copy(request.patches, &scratch.join("input"))?;
    let (ordered, checked) = split::split(request.patches, &files, &shell)?;
    let mut facts = facts(&ordered, request.trust);
    let paths = match checked {
        Ok(paths) => paths,
        Err(bad) => return Ok((facts, Prepared::Refused(bad))),
    };
    let named = ordered.patches.iter().chain(&ordered.cover).find_map(Mail::base_commit);
    let base = Base::find(request.tree, request.base, named.as_deref(), &scratch)?;
    facts.base = Some(base.clone());
    let source = workspace.join(named_as(&tree));
    (request.say)("making a worktree of the base");
    let shell = base.check_out(&source, &paths, &sandbox, &scratch, &request.tools.stop)?;
    let work = Work { request, workspace: &workspace, source, shell, sandbox: &sandbox };
    let prepared = work.go(&ordered, &mut facts)?;
    Ok((facts, prepared))
}

/// The worktree has the name of the tree: compilers record it, and ccache finds what it compiled of the tree itself.
fn named_as(tree: &Path) -> &str {
    tree.file_name().and_then(|n| n.to_str()).unwrap_or("source")
}

fn facts(ordered: &Ordered, trusted: bool) -> Facts {
    let head = ordered.cover.as_ref().unwrap_or(&ordered.patches[0]);
    let patch = |m: &Mail| Patch { subject: plain(&m.subject.text), author: m.author.clone() };
    Facts {
        title: plain(&head.subject.text),
        version: head.subject.version,
        patches: ordered.patches.iter().map(patch).collect(),
        header: head.header.clone(),
        message_id: head.header.get("Message-ID").map(str::to_string),
        left_out: ordered.left_out.clone(),
        base: None,
        trusted,
        configuration: Vec::new(),
    }
}

/// A worktree with the base in it.
struct Work<'a> {
    request: &'a Request<'a>,
    workspace: &'a Workspace,
    source: PathBuf,
    shell: Shell<'a>,
    sandbox: &'a Sandbox,
}

impl Work<'_> {
    /// Applies everything first, which takes seconds: a series that does not apply costs no build.
    fn go(&self, ordered: &Ordered, facts: &mut Facts) -> Result<Prepared, SeriesError> {
        for mail in &ordered.patches {
            match apply::apply(mail, &self.source, &self.shell)? {
                Ok(()) => {}
                Err(NotApplied::Failed(bad)) => return Ok(Prepared::NotApplied(bad)),
                Err(NotApplied::Refused(bad)) => return Ok(Prepared::Refused(bad)),
            }
        }
        let count = ordered.patches.len();
        self.check_out(count)?;
        (self.request.say)("building the base");
        let tools = Tools { log: Some(self.log("base")?), ..self.request.tools.clone() };
        let base =
            build::base(&self.source, &self.workspace.join("memhp-base"), self.request.recipe, &tools)?;
        let mut kernels = vec![self.keep("base", &base.dir)?];
        let patched = self.workspace.join("memhp-patched");
        build::seed(&base.dir, &patched, &self.shell)?;
        let wanted = if self.request.each { 1..=count } else { count..=count };
        for number in wanted {
            match self.build(number, ordered, &base, &patched)? {
                Ok(options) => facts.configuration = options,
                Err(bad) => {
                    return Ok(Prepared::NotBuilt(self.first(number, ordered, &base, &patched, bad)?));
                }
            }
            let name = if number == count { "series".into() } else { format!("patch {number}/{count}") };
            kernels.push(self.keep(&name, &patched)?);
        }
        Ok(Prepared::Kernels(kernels))
    }

    /// The worktree as it is after so many of the patches: `left` less than all.
    fn check_out(&self, left: usize) -> Result<(), SeriesError> {
        // From the last patch, which a branch keeps: a detached HEAD would lose it.
        let script = format!(
            "git rev-parse -q --verify refs/heads/memhp-series >/dev/null || git branch memhp-series; git checkout -q --detach memhp-series~{left}"
        );
        self.shell.run("git checkout", &script, &[], &self.source)?.must("git checkout").map(|_| ())
    }

    /// Builds the first `number` patches.
    fn build(
        &self,
        number: usize,
        ordered: &Ordered,
        base: &Built,
        dir: &Path,
    ) -> Result<Result<Vec<String>, Bad>, SeriesError> {
        let count = ordered.patches.len();
        self.check_out(count - number)?;
        (self.request.say)(&format!("building with {number} of {count} patches"));
        let sandbox = self.sandbox.with(Limits::of_build());
        let tools = Tools { log: Some(self.log(&format!("patch-{number}"))?), ..self.request.tools.clone() };
        match build::patched(&self.source, dir, base, &sandbox, &tools) {
            Ok(options) => Ok(Ok(options)),
            Err(SeriesError::Step(error)) if is_the_patch_s(&error) => {
                let patch = format!("patch {}", ordered.patches[number - 1].name());
                Ok(Err(Bad { patch, why: error.to_string() }))
            }
            Err(error) => Err(error),
        }
    }

    /// The first patch that does not build; `bad` is number `number`.
    fn first(
        &self,
        number: usize,
        ordered: &Ordered,
        base: &Built,
        dir: &Path,
        bad: Bad,
    ) -> Result<Bad, SeriesError> {
        if self.request.each {
            return Ok(bad);
        }
        for earlier in 1..number {
            if let Err(bad) = self.build(earlier, ordered, base, dir)? {
                return Ok(bad);
            }
        }
        Ok(bad)
    }

    fn keep(&self, name: &str, build: &Path) -> Result<Kernel, SeriesError> {
        let dir = self.request.out.join("kernels").join(name.replace([' ', '/'], "-"));
        build::keep(build, &dir)?;
        Ok(Kernel { name: name.into(), dir })
    }

    fn log(&self, name: &str) -> Result<PathBuf, SeriesError> {
        let dir = self.request.out.join("build");
        fs::create_dir_all(&dir).map_err(at("making", &dir))?;
        Ok(dir.join(format!("{name}.log")))
    }
}

/// Whether the patched source is to blame; else the host is.
fn is_the_patch_s(error: &BuildError) -> bool {
    matches!(
        error,
        BuildError::Make { .. }
            | BuildError::Timeout { .. }
            | BuildError::Watch { .. }
            | BuildError::NotASource { .. }
            | BuildError::NotTaken(_)
    )
}
