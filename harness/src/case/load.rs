//! Cases from files, from a directory and from the binary.

use super::matrix::{self, Scenario};
use super::schema::{Case, Step};
use super::substitute::Problem;
use super::yaml::{self, YamlError};
use super::{check, embedded};
use std::io;
use std::path::{Path, PathBuf};

/// Files beside the cases that are none.
const NO_CASES: [&str; 2] = ["known-issues.yaml", "case.schema.json"];

/// A case with all its scenarios, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// its folder, `policy`
    pub folder: String,
    /// its name, `boot-param`
    pub name: String,
    /// its file; for an embedded case its name below `cases`
    pub file: PathBuf,
    /// as it is written
    pub case: Case,
    /// every combination of its axes
    pub scenarios: Vec<Scenario>,
}

/// Why cases cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// a file or directory cannot be read
    #[error("read {}: {source}", path.display())]
    Read {
        /// which
        path: PathBuf,
        /// why
        source: io::Error,
    },
    /// a case that lies in no folder has no id
    #[error("{}: a case lies in a folder, as policy/boot-param.yaml does", .0.display())]
    NoFolder(PathBuf),
    /// the folder or the file has a name that would spoil ids
    #[error("{}: folders and cases are named with letters, digits, '-', '_' and '.'", .0.display())]
    BadName(PathBuf),
    /// what is wrong in the files, all of it
    #[error("{}", .0.iter().map(YamlError::to_string).collect::<Vec<_>>().join("\n"))]
    Yaml(Vec<YamlError>),
    /// a directory without cases
    #[error("no case in {}", .0.display())]
    Empty(PathBuf),
}

/// Reads one case from its text.
pub fn parse(folder: &str, name: &str, file: &Path, text: &str) -> Result<Loaded, LoadError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let folder_is_plain = !folder.is_empty() && folder.chars().all(|c| plain(c) || c == '/');
    if !folder_is_plain || name.is_empty() || !name.chars().all(plain) {
        return Err(LoadError::BadName(file.to_path_buf()));
    }
    let (case, positions): (Case, _) =
        yaml::from_str_with_positions(file, text).map_err(|e| LoadError::Yaml(vec![e]))?;
    let with_places = |problems: Vec<Problem>| {
        LoadError::Yaml(problems.into_iter().map(|p| positions.error(&p.path, p.what)).collect())
    };
    let mut scenarios = matrix::expand(folder, name, file.to_path_buf(), &case).map_err(with_places)?;
    let dir = file.parent().unwrap_or(Path::new(""));
    scenarios.iter_mut().for_each(|s| find_programs(&mut s.case.steps, dir));
    let mut problems = Vec::new();
    for problem in scenarios.iter().flat_map(|s| check::check(&s.case)) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    if !problems.is_empty() {
        return Err(with_places(problems));
    }
    let (folder, name, file) = (folder.to_string(), name.to_string(), file.to_path_buf());
    Ok(Loaded { folder, name, file, case, scenarios })
}

/// Programs of `exec` steps lie where the case's file lies.
fn find_programs(steps: &mut [Step], dir: &Path) {
    for step in steps {
        match step {
            Step::Exec(exec) => exec.program = dir.join(&exec.program).display().to_string(),
            Step::Repeat(repeat) => find_programs(&mut repeat.steps, dir),
            Step::Each(each) => find_programs(&mut each.steps, dir),
            _ => {}
        }
    }
}

/// Reads one case file. Its folder is the directory it lies in.
pub fn from_file(file: &Path) -> Result<Loaded, LoadError> {
    let read = |source| LoadError::Read { path: file.to_path_buf(), source };
    let text = std::fs::read_to_string(file).map_err(read)?;
    let place = std::path::absolute(file).map_err(read)?;
    let folder = place.parent().and_then(Path::file_name).and_then(|n| n.to_str());
    let name = place.file_stem().and_then(|n| n.to_str());
    match (folder, name) {
        (Some(folder), Some(name)) => parse(folder, name, file, &text),
        (None, Some(_)) => Err(LoadError::NoFolder(file.to_path_buf())),
        _ => Err(LoadError::BadName(file.to_path_buf())),
    }
}

/// Reads all cases below `dir`, sorted by folder and name.
pub fn from_dir(dir: &Path) -> Result<Vec<Loaded>, LoadError> {
    let mut files = Vec::new();
    yaml_files(dir, &mut files)?;
    let all = files.iter().map(|path| {
        let read = |source| LoadError::Read { path: path.clone(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let below = path.strip_prefix(dir).unwrap_or(path);
        parse_below(below, path, &text)
    });
    let cases = together(all)?;
    if cases.is_empty() { Err(LoadError::Empty(dir.to_path_buf())) } else { Ok(cases) }
}

/// The cases that are built into the binary, sorted by folder and name.
pub fn embedded() -> Result<Vec<Loaded>, LoadError> {
    let files = embedded::CASES.iter().filter(|(name, _)| !NO_CASES.contains(name));
    together(files.map(|(name, text)| parse_below(Path::new(name), &Path::new("cases").join(name), text)))
}

/// Cases from `dir`, or the embedded ones without it.
pub fn corpus(dir: Option<&Path>) -> Result<Vec<Loaded>, LoadError> {
    dir.map_or_else(embedded, from_dir)
}

/// A case by its path below the directory of all cases.
fn parse_below(below: &Path, file: &Path, text: &str) -> Result<Loaded, LoadError> {
    let folder = below.parent().and_then(Path::to_str).filter(|folder| !folder.is_empty());
    let folder = folder.ok_or_else(|| LoadError::NoFolder(file.to_path_buf()))?;
    let name = below.file_stem().and_then(|n| n.to_str());
    parse(folder, name.ok_or_else(|| LoadError::BadName(file.to_path_buf()))?, file, text)
}

/// All cases, or every mistake of all their files.
fn together(all: impl Iterator<Item = Result<Loaded, LoadError>>) -> Result<Vec<Loaded>, LoadError> {
    let (mut cases, mut wrong) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(case) => cases.push(case),
            Err(LoadError::Yaml(mistakes)) => wrong.extend(mistakes),
            Err(other) => return Err(other),
        }
    }
    cases.sort_by(|a, b| (&a.folder, &a.name).cmp(&(&b.folder, &b.name)));
    if wrong.is_empty() { Ok(cases) } else { Err(LoadError::Yaml(wrong)) }
}

fn yaml_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let read = |source| LoadError::Read { path: dir.to_path_buf(), source };
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let no_case = path.file_name().is_some_and(|name| NO_CASES.iter().any(|no| name == *no));
        if path.is_dir() {
            yaml_files(&path, files)?;
        } else if !no_case && path.extension().is_some_and(|e| e == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
