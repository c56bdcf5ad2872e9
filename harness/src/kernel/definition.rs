//! Kernel definitions (kernels/*.yaml): what a kernel's name stands for. Pure but for reading a directory.

use super::embedded::KERNELS;
use super::error::{KernelError, at};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is tested when no kernel is named.
pub const DEFAULT: [&str; 2] = ["debian-6.1", "debian-6.12"];

/// One file of kernels/.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What this kernel stands for, in a line.
    pub summary: String,
    /// Where it comes from.
    pub from: Source,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A distribution's package.
    Package(Package),
    /// Built from source.
    Build(Build),
}

/// A kernel that is built: source, where its configuration begins, and what is changed in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Where the source comes from.
    pub source: SourceCode,
    /// Where the configuration begins.
    pub base: BaseConfig,
    /// Fragments, later ones over earlier ones: names of those that come with the command, or files.
    #[serde(default)]
    pub fragments: Vec<String>,
}

/// Where a source comes from. Paths are relative to the definition's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceCode {
    /// Debian's package linux-source-SERIES.
    Package(SourcePackage),
    /// A directory, with whatever is in it when it is built.
    Directory(PathBuf),
    /// A revision of a git repository.
    Git(GitSource),
}

/// The newest `linux-source-SERIES` of some suites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourcePackage {
    /// `6.12`, or `7` for the newest 7.x.
    pub series: String,
    /// Suites to look in; where two have the same version, the first wins.
    pub suites: Vec<String>,
}

/// A revision of a repository, which is not written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitSource {
    /// Its directory.
    pub repository: PathBuf,
    /// A commit, tag or branch.
    pub revision: String,
}

/// Where a configuration begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BaseConfig {
    /// `make tinyconfig`
    Tinyconfig,
    /// `make defconfig`
    Defconfig,
    /// A .config.
    File(PathBuf),
}

/// The newest `linux-image-SERIES*-FLAVOUR` of some suites.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// `6.1` or `7`: the first numbers of the release name.
    pub series: String,
    /// `cloud-amd64`: the last words of the release name.
    pub flavour: String,
    /// Suites to look in; where two have the same version, the first wins.
    pub suites: Vec<String>,
}

/// All definitions by name: those of the directory where one is given, else those that come with the command.
pub(super) fn load(dir: Option<&Path>) -> Result<BTreeMap<String, Definition>, KernelError> {
    let Some(dir) = dir else {
        return KERNELS
            .iter()
            .map(|(file, text)| Ok((file.trim_end_matches(".yaml").to_string(), parse(file, text)?)))
            .collect();
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(at("reading", dir))? {
        let path = entry.map_err(at("reading", dir))?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).map_err(at("reading", &path))?;
            found.insert(name, parse(&path.display().to_string(), &text)?);
        }
    }
    Ok(found)
}

fn parse(file: &str, text: &str) -> Result<Definition, KernelError> {
    let error = |error| KernelError::Definition { file: file.to_string(), error };
    let definition: Definition = from_yaml(text).map_err(error)?;
    match &definition.from {
        Source::Package(package) => {
            check_words(&package.suites, &[("series", &package.series), ("flavour", &package.flavour)])
        }
        Source::Build(build) => check_build(build),
    }
    .map_err(error)?;
    Ok(definition)
}

fn check_build(build: &Build) -> Result<(), String> {
    match &build.source {
        SourceCode::Package(package) => check_words(&package.suites, &[("series", &package.series)])?,
        SourceCode::Directory(path) if path.as_os_str().is_empty() => return Err("directory is empty".into()),
        SourceCode::Directory(_) => {}
        // What begins with a dash would be an option of git.
        SourceCode::Git(git) if git.revision.is_empty() || git.revision.starts_with('-') => {
            return Err(format!("revision {:?} is none", git.revision));
        }
        SourceCode::Git(_) => {}
    }
    match build.fragments.iter().find(|f| f.is_empty()) {
        Some(_) => Err("a fragment's name is empty".into()),
        None => Ok(()),
    }
}

/// These words become parts of file names and of apt's sources: nothing but what such names are made of.
fn check_words(suites: &[String], words: &[(&str, &str)]) -> Result<(), String> {
    let word = |what: &str, text: &str| {
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-.+/".contains(c))
            && !text.contains("..");
        if good { Ok(()) } else { Err(format!("{what} {text:?} is no such name")) }
    };
    if suites.is_empty() {
        return Err("suites is empty".into());
    }
    words.iter().try_for_each(|(what, text)| word(what, text))?;
    suites.iter().try_for_each(|s| word("suite", s))
}

/// Strict YAML: no second key of the same name, no `yes` for true, nothing deep.
pub(super) fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
        assert_eq!(load(Some(&dir)).unwrap(), load(None).unwrap());
        for name in DEFAULT {
            assert!(load(None).unwrap().contains_key(name));
        }
    }

    #[test]
    fn a_definition_word_by_word() {
        let text =
            "summary: s\nfrom:\n  package: { series: \"6.1\", flavour: cloud-amd64, suites: [a, b] }\n";
        let package = Package {
            series: "6.1".into(),
            flavour: "cloud-amd64".into(),
            suites: vec!["a".into(), "b".into()],
        };
        assert_eq!(
            parse("x.yaml", text).unwrap(),
            Definition { summary: "s".into(), from: Source::Package(package) }
        );
    }

    #[test]
    fn a_build_word_by_word() {
        let text = "summary: s\nfrom:\n  build:\n    source: { git: { repository: ../linux, revision: v6.12 } }\n    \
            base: { file: my.config }\n    fragments: [debug, own.config]\n";
        let source = SourceCode::Git(GitSource { repository: "../linux".into(), revision: "v6.12".into() });
        let base = BaseConfig::File("my.config".into());
        let build = Build { source, base, fragments: vec!["debug".into(), "own.config".into()] };
        assert_eq!(
            parse("x.yaml", text).unwrap(),
            Definition { summary: "s".into(), from: Source::Build(build) }
        );
        for (from, to) in [
            ("revision: v6.12", "revision: --upload-pack=x"),
            ("revision: v6.12", "revision: \"\""),
            ("git: { repository: ../linux, revision: v6.12 }", "directory: \"\""),
            ("git: { repository: ../linux, revision: v6.12 }", "package: { series: ../x, suites: [a] }"),
            ("git: { repository: ../linux, revision: v6.12 }", "package: { series: \"6.1\", suites: [] }"),
            ("base: { file: my.config }", "base: allyesconfig"),
            ("base: { file: my.config }\n", "base: null\n"),
            ("debug,", "\"\","),
            ("fragments:", "fragment:"),
        ] {
            let bad = text.replace(from, to);
            assert_ne!(bad, text, "{from}");
            let error = parse("x.yaml", &bad).map(|d| format!("{d:?}")).expect_err(to).to_string();
            assert!(error.starts_with("kernel definition x.yaml: "), "{error}");
        }
    }

    #[test]
    fn every_embedded_build_names_fragments_that_come_with_the_command() {
        for (name, definition) in load(None).unwrap() {
            let Source::Build(build) = definition.from else { continue };
            for fragment in &build.fragments {
                super::super::build::Fragment::load(fragment, Some(Path::new("/nowhere"))).expect(&name);
            }
        }
    }

    #[test]
    fn mistakes_are_errors_with_their_file() {
        let good = "summary: s\nfrom: { package: { series: \"6.1\", flavour: f, suites: [a] } }\n";
        for (from, to) in [
            ("summary: s", "summary: s\nsummary: t"),
            ("summary: s", "summary: s\ncolour: red"),
            ("summary: s", "summary: null"),
            ("suites: [a]", "suites: []"),
            ("suites: [a]", "suites: null"),
            ("suites: [a]", "suites: [\"a main\\ndeb\"]"),
            ("\"6.1\"", "../x"),
            ("package:", "parcel:"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            let error = parse("x.yaml", &text).map(|d| format!("{d:?}")).expect_err(to).to_string();
            assert!(error.starts_with("kernel definition x.yaml: "), "{error}");
        }
        assert!(parse("x.yaml", good).is_ok());
    }
}
