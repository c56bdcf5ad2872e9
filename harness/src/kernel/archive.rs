//! Reading what apt says about an archive: where it is, which kernels it has, what they are made of. Pure.

use super::definition::Package;
use super::fetch::Wanted;
use super::lock::PackageFile;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Addresses as the host's own apt configuration has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Base URI of the main archive, without the last slash.
    pub main: String,
    /// Base URI of the archive of security updates.
    pub security: String,
    /// Key rings to check signatures with; empty: those that apt trusts anyway.
    pub keyrings: Vec<String>,
    /// The host marked its archive as trusted without a signature.
    pub trusted: bool,
}

impl Archive {
    /// Base URI for a suite.
    pub fn base(&self, suite: &str) -> &str {
        if suite.ends_with("-security") || suite.ends_with("/updates") { &self.security } else { &self.main }
    }

    /// Line of sources.list for a suite. How old its Release file is does not matter: what is fetched is pinned by checksum,
    /// and a suite whose support has ended is still a good source.
    pub fn source_line(&self, suite: &str) -> String {
        let mut options = "arch=amd64 target=Packages check-valid-until=no".to_string();
        if self.trusted {
            options += " trusted=yes";
        } else if !self.keyrings.is_empty() {
            options += &format!(" signed-by={}", self.keyrings.join(","));
        }
        format!("deb [{options}] {} {suite} main\n", self.base(suite))
    }

    /// From `apt-get update --print-uris`, whose lines begin with `'BASE/dists/SUITE/InRelease'`. It needs no package
    /// lists, which a fresh host does not have. The archive is the one that has a Debian release by its code name; a
    /// third party's archive may use the same code names, so the one with the most Debian suites wins, the first of equals.
    pub fn from_print_uris(text: &str) -> Option<Self> {
        let mut bases: Vec<(&str, usize)> = Vec::new();
        let mut security = None;
        for (base, suite) in text.lines().filter_map(release_uri) {
            if !CODE_NAMES.iter().any(|n| suite.strip_prefix(n).is_some_and(|r| RESTS.contains(&r))) {
                continue;
            }
            if suite.ends_with("-security") || suite.ends_with("/updates") {
                security.get_or_insert(base);
            } else {
                match bases.iter_mut().find(|(b, _)| *b == base) {
                    Some((_, n)) => *n += 1,
                    None => bases.push((base, 1)),
                }
            }
        }
        let best = bases.iter().map(|(_, n)| *n).max()?;
        let main = bases.iter().find(|(_, n)| *n == best)?.0.to_string();
        let security = security.map_or_else(|| beside(&main), str::to_string);
        Some(Self { main, security, keyrings: Vec::new(), trusted: false })
    }
}

const CODE_NAMES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "unstable",
    "testing",
    "stable",
    "oldstable",
    "oldoldstable",
];
const RESTS: &[&str] = &["", "-updates", "-security", "/updates", "-backports", "-proposed-updates"];

/// Where security updates usually are when the host does not say.
fn beside(main: &str) -> String {
    match main.strip_suffix("/debian") {
        Some(site) => format!("{site}/debian-security"),
        None => main.to_string(),
    }
}

fn release_uri(line: &str) -> Option<(&str, &str)> {
    let uri = line.strip_prefix('\'')?.split('\'').next()?;
    let (base, rest) = uri.rsplit_once("/dists/")?;
    Some((base, rest.strip_suffix("/InRelease")?))
}

/// A kernel package that an archive has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// `linux-image-RELEASE`
    pub package: String,
    /// as Debian writes it
    pub version: String,
    /// where it is
    pub suite: String,
}

impl Candidate {
    /// `uname -r`; of a source its package's name
    pub(super) fn release(&self) -> &str {
        self.package.strip_prefix("linux-image-").unwrap_or(&self.package)
    }
}

/// Names of `apt-cache pkgnames` that are wanted.
pub(super) fn kernel_names(pkgnames: &str, wanted: &dyn Wanted) -> BTreeSet<String> {
    pkgnames.lines().map(str::trim).filter(|name| wanted.is(name)).map(str::to_string).collect()
}

/// Whether a package is a kernel of the definition's series and flavour: no debug symbols, no unsigned images, no meta
/// packages (linux-image-cloud-amd64, linux-image-6.1-cloud-amd64).
pub(super) fn is_kernel(name: &str, wanted: &Package) -> bool {
    let middle = name.strip_prefix("linux-image-").and_then(|n| n.strip_suffix(&wanted.flavour));
    let Some(number) = middle.and_then(|n| n.strip_suffix('-')) else { return false };
    number.strip_prefix(&wanted.series).is_some_and(|rest| rest.starts_with('.'))
}

/// Lines of `apt-cache madison`: `NAME | VERSION | URI SUITE/COMPONENT ARCH Packages`.
pub(super) fn parse_madison(text: &str) -> Vec<Candidate> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(" | ").map(str::trim);
            let (package, version, place) = (fields.next()?, fields.next()?, fields.next()?);
            let mut words = place.split_whitespace();
            let suite = words.nth(1)?.rsplit_once('/')?.0;
            (words.last() == Some("Packages")).then(|| Candidate {
                package: package.to_string(),
                version: version.to_string(),
                suite: suite.to_string(),
            })
        })
        .collect()
}

/// The newest; of equals the one whose suite the definition names first.
pub(super) fn newest<'a>(candidates: &'a [Candidate], suites: &[String]) -> Option<&'a Candidate> {
    let rank = |c: &Candidate| suites.iter().position(|s| *s == c.suite).unwrap_or(usize::MAX);
    candidates
        .iter()
        .max_by(|a, b| compare_versions(&a.version, &b.version).then_with(|| rank(b).cmp(&rank(a))))
}

/// One paragraph of a package list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stanza {
    /// The package itself.
    pub file: PackageFile,
    /// Names in Depends and Pre-Depends, without versions.
    pub depends: Vec<String>,
}

/// Paragraphs of `apt-cache show`.
pub(super) fn parse_show(text: &str) -> Vec<Stanza> {
    text.split("\n\n").filter_map(parse_stanza).collect()
}

fn parse_stanza(text: &str) -> Option<Stanza> {
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
    let file = PackageFile {
        package: field("Package")?.to_string(),
        version: field("Version")?.to_string(),
        sha256: field("SHA256")?.to_string(),
    };
    let lists = [field("Depends"), field("Pre-Depends")].into_iter().flatten();
    let names = lists.flat_map(|l| l.split([',', '|'])).filter_map(|d| d.split_whitespace().next());
    Some(Stanza { file, depends: names.map(str::to_string).collect() })
}

impl Stanza {
    /// Other packages of the same kernel: up to 6.x none, from 7.0 on linux-binary-RELEASE (the image),
    /// linux-modules-RELEASE, linux-base-RELEASE (the configuration).
    pub(super) fn parts<'a>(&'a self, release: &'a str) -> impl Iterator<Item = &'a str> {
        self.depends.iter().map(String::as_str).filter(move |n| {
            n.starts_with("linux-") && n.strip_suffix(release).is_some_and(|n| n.ends_with('-'))
        })
    }
}

/// Order of Debian's versions (deb-version(7)).
pub(super) fn compare_versions(a: &str, b: &str) -> Ordering {
    let split = |v: &str| -> (u64, String, String) {
        let (epoch, rest) = v.split_once(':').map_or((0, v), |(e, r)| (e.parse().unwrap_or(0), r));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch, upstream.to_string(), revision.to_string())
    };
    let ((ea, ua, ra), (eb, ub, rb)) = (split(a), split(b));
    ea.cmp(&eb).then_with(|| compare_parts(&ua, &ub)).then_with(|| compare_parts(&ra, &rb))
}

fn compare_parts(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) = (take(&mut a, false), take(&mut b, false));
        let order = compare_text(text_a, text_b);
        if order != Ordering::Equal {
            return order;
        }
        let (number_a, number_b) = (trim(take(&mut a, true)), trim(take(&mut b, true)));
        let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(text: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = text.iter().position(|b| b.is_ascii_digit() != digits).unwrap_or(text.len());
    let (head, tail) = text.split_at(end);
    *text = tail;
    head
}

fn trim(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().position(|b| *b != b'0').unwrap_or(digits.len())..]
}

/// `~` sorts before the end, letters before everything else.
fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(*b),
        Some(b) => i32::from(*b) + 256,
    };
    let pairs = (0..a.len().max(b.len())).map(|i| weight(a.get(i)).cmp(&weight(b.get(i))));
    pairs.into_iter().find(|o| *o != Ordering::Equal).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(series: &str) -> Package {
        let suites = vec!["trixie-security".to_string(), "trixie".to_string()];
        Package { series: series.into(), flavour: "cloud-amd64".into(), suites }
    }

    #[test]
    fn kernels_by_name() {
        let names = "linux-image-6.1-cloud-amd64\nlinux-image-cloud-amd64\nlinux-image-6.1.0-9-cloud-amd64\n\
            linux-image-6.1.0-9-cloud-amd64-dbg\nlinux-image-6.1.0-9-cloud-amd64-unsigned\nlinux-image-6.1.0-9-amd64\n\
            linux-image-6.12.117+deb12-cloud-amd64\nlinux-image-6.18.15+deb13-cloud-amd64\n\
            linux-image-7.3.4+deb13-cloud-amd64\nlinux-headers-6.1.0-9-cloud-amd64\n";
        let found = |series| kernel_names(names, &package(series)).into_iter().collect::<Vec<_>>();
        assert_eq!(found("6.1"), ["linux-image-6.1.0-9-cloud-amd64"]);
        assert_eq!(found("6.12"), ["linux-image-6.12.117+deb12-cloud-amd64"]);
        assert_eq!(found("7"), ["linux-image-7.3.4+deb13-cloud-amd64"]);
        assert!(found("5.10").is_empty());
    }

    #[test]
    fn sources_by_name() {
        use super::super::definition::SourcePackage;
        let names = "linux-source\nlinux-source-6.1\nlinux-source-6.12\nlinux-source-7.2\nlinux-source-7.3\n";
        let found = |series: &str| {
            let wanted = SourcePackage { series: series.into(), suites: vec!["a".into()] };
            kernel_names(names, &wanted).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(found("6.1"), ["linux-source-6.1"]);
        assert_eq!(found("7"), ["linux-source-7.2", "linux-source-7.3"]);
        assert!(found("5.10").is_empty());
    }

    #[test]
    fn newest_of_madison() {
        let text = "linux-image-6.12.9+deb13-cloud-amd64 | 6.12.9-1 | http://a/debian trixie/main amd64 Packages\n\
            linux-image-6.12.107+deb13-cloud-amd64 | 6.12.107-1 | http://a/debian trixie/main amd64 Packages\n\
            linux-image-6.12.107+deb13-cloud-amd64 | 6.12.107-1 | http://a/sec trixie-security/main amd64 Packages\n\
            linux-signed-amd64 | 6.12.200+1 | http://a/debian trixie/main Sources\n";
        let candidates = parse_madison(text);
        assert_eq!(candidates.len(), 3);
        let best = newest(&candidates, &package("6.12").suites).unwrap();
        assert_eq!(best.release(), "6.12.107+deb13-cloud-amd64");
        assert_eq!((best.version.as_str(), best.suite.as_str()), ("6.12.107-1", "trixie-security"));
        assert_eq!(newest(&[], &[]), None);
    }

    #[test]
    fn versions_as_dpkg_orders_them() {
        let order = [
            "6.1~rc2-1",
            "6.1-1~exp1",
            "6.1-1",
            "6.1-1+b1",
            "6.1.9-1",
            "6.1.10-1~bpo",
            "6.1.10-1",
            "1:1.0-1",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a} against {b}");
            }
        }
        assert_eq!(compare_versions("6.01-1", "6.1-1"), Ordering::Equal);
    }

    #[test]
    fn parts_of_a_kernel() {
        let text = "Package: linux-image-7.3.4+deb13-cloud-amd64\nVersion: 7.3.4-1\n\
            Depends: dracut | initramfs-tools (>= 0.120), linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), \
            linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)\nPre-Depends: linux-base (>= 4.17~)\nSHA256: 12ab\n\n\
            Package: other\nVersion: 1\nSHA256: 34cd\n\n";
        let stanzas = parse_show(text);
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].file.sha256, "12ab");
        let parts: Vec<&str> = stanzas[0].parts("7.3.4+deb13-cloud-amd64").collect();
        assert_eq!(parts, ["linux-base-7.3.4+deb13-cloud-amd64", "linux-binary-7.3.4+deb13-cloud-amd64"]);
        assert_eq!(stanzas[1].depends, Vec::<String>::new());
    }

    #[test]
    fn the_archive_of_the_host() {
        let text = "'http://m/debian/dists/bookworm/InRelease' x 0 \n'http://m/debian/dists/bookworm-updates/InRelease' x 0\n\
            'https://third.party/linux/debian/dists/bookworm/InRelease' x 0\n\
            'http://m/sec/dists/bookworm-security/InRelease' x 0\n'http://m/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0\n";
        let archive = Archive::from_print_uris(text).unwrap();
        assert_eq!(
            (archive.base("trixie-backports"), archive.base("trixie-security")),
            ("http://m/debian", "http://m/sec")
        );
        let alone = Archive::from_print_uris("'http://m/debian/dists/trixie/InRelease' x 0\n").unwrap();
        assert_eq!(alone.security, "http://m/debian-security");
        assert_eq!(Archive::from_print_uris("'http://u/ubuntu/dists/noble/InRelease' x 0\n"), None);
    }

    #[test]
    fn lines_of_sources() {
        let archive = |keyrings: &[&str], trusted| Archive {
            main: "http://m/debian".into(),
            security: "http://m/sec".into(),
            keyrings: keyrings.iter().map(ToString::to_string).collect(),
            trusted,
        };
        assert_eq!(
            archive(&["/a.gpg", "/b.gpg"], false).source_line("trixie"),
            "deb [arch=amd64 target=Packages check-valid-until=no signed-by=/a.gpg,/b.gpg] http://m/debian trixie main\n"
        );
        assert!(
            archive(&[], true)
                .source_line("trixie-security")
                .contains("trusted=yes] http://m/sec trixie-security")
        );
    }
}
